"""Verifies the files of an audit log but for the signature, which needs Ed25519. Written from docs/format-log.md and
nothing else, with Python's standard library and nothing else. Usage: verify.py FOLDER; prints size and root."""

import base64, datetime, hashlib, json, os, sys


def path(kind, n, width):
    groups = []
    while True:
        groups.insert(0, "%03d" % (n % 1000))
        n //= 1000
        if n == 0:
            break
    name = "/".join(["x" + g for g in groups[:-1]] + groups[-1:])
    return os.path.join(sys.argv[1], "tile", kind, name + ("" if width == 256 else ".p/%d" % width))


def read(kind, n, width):
    for w in (width, 256):
        if os.path.exists(path(kind, n, w)):
            with open(path(kind, n, w), "rb") as f:
                return f.read()
    sys.exit("missing: " + path(kind, n, width))


def node(a, b):
    return hashlib.sha256(b"\x01" + a + b).digest()


def root(hashes):
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node(root(hashes[:k]), root(hashes[k:]))


with open(os.path.join(sys.argv[1], "checkpoint"), encoding="utf-8") as f:
    name, size, want = f.read().split("\n")[:3]
size = int(size)

leaves, chains = [], {}
for n in range((size + 255) // 256):
    width = min(256, size - 256 * n)
    bundle = read("entries", n, width)
    for _ in range(width):
        length = int.from_bytes(bundle[:2], "big")
        entry, bundle = bundle[2:2 + length], bundle[2 + length:]
        h = hashlib.sha256(b"\x00" + entry).digest()
        e = json.loads(entry)
        if json.dumps(e, ensure_ascii=False, separators=(",", ":")).encode() != entry:
            sys.exit("entry %d is not canonical" % len(leaves))
        t = datetime.datetime.strptime(e["time"], "%Y-%m-%dT%H:%M:%S.%fZ")
        seq, prev, last = chains.get(e["writer"], (0, "", datetime.datetime.min))
        if e["v"] != 1 or e["seq"] != seq + 1 or e.get("prev", "") != prev or t < last:
            sys.exit("the chain breaks at entry %d" % len(leaves))
        chains[e["writer"]] = (seq + 1, base64.b64encode(h).decode(), t)
        leaves.append(h)

level, hashes = 0, leaves
while hashes:
    above = []
    for n in range((len(hashes) + 255) // 256):
        part = hashes[256 * n:256 * n + 256]
        if read(str(level), n, len(part))[:32 * len(part)] != b"".join(part):
            sys.exit("tile %d of level %d" % (n, level))
        if len(part) == 256:
            above.append(root(part))
    level, hashes = level + 1, above
if base64.b64encode(root(leaves)).decode() != want:
    sys.exit("the root")
print(size, want)
