#!/usr/bin/env python3
"""Writes vectors.json beside this file: golden vectors for docs/format-seal.md, made from that page alone with hashlib, hmac
and the AESGCM of the package "cryptography". Run it without arguments; its output is the same in every run."""

import hashlib
import hmac
import json
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def fixed(name, n):
    """n bytes that look random and are the same in every run."""
    out, i = b"", 0
    while len(out) < n:
        out += hashlib.sha256(f"{name}/{i}".encode()).digest()
        i += 1
    return out[:n]


def u(n, size):
    return n.to_bytes(size, "big")


def field(b, size):
    return u(len(b), size) + b


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand32(prk, info):
    return hmac.new(prk, info + b"\x01", hashlib.sha256).digest()


def context_bytes(c):
    b = u(len(c), 2)
    for k in sorted(c, key=lambda k: k.encode()):
        b += field(k.encode(), 2) + field(c[k].encode(), 2)
    return b


def bucket(n):
    if n > 4096:
        return (n + 4095) // 4096 * 4096
    b = 16
    while b < n:
        b *= 2
    return b


def gcm(key, nonce, plain, ad):
    return nonce + AESGCM(key).encrypt(nonce, plain, ad)


def message(name, context, recipients):
    data_key, mid = fixed(name + "/data key", 32), fixed(name + "/id", 32)
    core = b"CFRS" + b"\x01\x01" + mid + context_bytes(context)
    prk = extract(mid, data_key)
    commitment = expand32(prk, b"coffer/seal/1/commit" + hashlib.sha256(core).digest())

    def header_for(recipients):
        body = core + u(len(recipients), 1)
        for r in sorted(recipients, key=lambda r: (r["recipient"], r["provider"], r["keyID"])):
            body += field(r["recipient"].encode(), 1) + field(r["provider"].encode(), 1)
            body += field(r["keyID"].encode(), 2) + field(bytes.fromhex(r["blob"]), 2)
        return body + commitment + expand32(prk, b"coffer/seal/1/recipients" + hashlib.sha256(body).digest())

    header = header_for(recipients)
    # The same message after its data key was wrapped anew, for one recipient.
    rewrapped = header_for([{"recipient": "reveal", "provider": "new", "keyID": "k", "blob": "01"}])
    digest = hashlib.sha256(core + commitment).digest()

    boxes = []
    for i, (identity, value) in enumerate([
        (b"", b""),
        (b"1", b"123456789012"),
        (b"1", b"1234567890123"),
        (b"\x00\xff" * 20, bytes(range(256))),
        (b"finding/2", fixed(name + "/value", 5000)),
    ]):
        plain = field(value, 4)
        plain += bytes(bucket(len(plain)) - len(plain))
        key = expand32(prk, b"coffer/seal/1/box")
        box = b"\x01" + gcm(key, fixed(f"{name}/nonce/{i}", 12), plain, b"\x01" + digest + identity)
        boxes.append({"identity": identity.hex(), "value": value.hex(), "box": box.hex()})

    streams = []
    for i, (identity, size) in enumerate([(b"original", 0), (b"original", 1), (b"", 65536), (b"o", 65537), (b"o", 150000)]):
        plain, salt = fixed(f"{name}/stream/{i}", size), fixed(f"{name}/salt/{i}", 32)
        key = expand32(prk, b"coffer/seal/1/stream" + salt)
        out = b"\x01" + salt
        chunks = [plain[j : j + 65536] for j in range(0, size, 65536)] or [b""]
        for n, chunk in enumerate(chunks):
            ad = b"\x01" + digest + u(n, 8) + u(n == len(chunks) - 1, 1) + identity
            out += gcm(key, fixed(f"{name}/stream/{i}/nonce/{n}", 12), chunk, ad)
        # Long streams are given by their digest; a reader checks them against it and against the plaintext's.
        streams.append({
            "identity": identity.hex(), "size": size, "plain": f"{name}/stream/{i}", "salt": f"{name}/salt/{i}",
            "nonces": f"{name}/stream/{i}/nonce/", "sha256": hashlib.sha256(out).hexdigest(),
            "stream": out.hex() if size <= 1 else "",
        })

    macs = []
    for label, text in [("", b""), ("fingerprint/CREDIT_CARD_NUMBER", b"4111111111111111"), ("token", bytes(200))]:
        key = expand32(prk, b"coffer/seal/1/mac/" + label.encode())
        macs.append({"label": label, "text": text.hex(), "mac": hmac.new(key, text, hashlib.sha256).hexdigest()})

    return {"context": context, "dataKey": data_key.hex(), "header": header.hex(), "rewrapped": rewrapped.hex(), "recipients": recipients,
            "boxes": boxes, "streams": streams, "macs": macs}


def store_values():
    key, out = fixed("store key", 32), []
    for i, (part, sort, version, value) in enumerate([
        ("f/1", "meta", "v1", b""), ("p\x00", "\u00fc", "x" * 64, bytes(range(256))), ("a", "ab", "1", b"value"),
    ]):
        salt = fixed(f"store/salt/{i}", 16)
        ad = b"\x01" + b"".join(field(s.encode(), 4) for s in (part, sort, version))
        k = hmac.new(key, b"coffer/store/1/value" + salt, hashlib.sha256).digest()
        sealed = b"\x01" + salt + gcm(k, fixed(f"store/nonce/{i}", 12), value, ad)
        out.append({"part": part.encode().hex(), "sort": sort.encode().hex(), "version": version, "value": value.hex(), "sealed": sealed.hex()})
    return {"key": key.hex(), "values": out}


def key_file():
    """A ring of two keys, plain and under a passphrase, and data keys wrapped under both."""
    import base64

    b64 = lambda b: base64.b64encode(b).decode()
    keys = []
    for i in range(2):
        reveal, verify = fixed(f"ring/{i}/reveal", 32), fixed(f"ring/{i}/verify", 32)
        kid = hmac.new(reveal + verify, b"coffer/keyfile/1/id", hashlib.sha256).digest()[:16].hex()
        keys.append({"id": kid, "created": f"2026-01-0{i + 1}T00:00:00Z", "reveal": b64(reveal), "verify": b64(verify)})
    ring = {"current": keys[1]["id"], "keys": keys}
    plain = json.dumps({"format": "coffer keyfile", "version": 1, "ring": ring}, indent=2) + "\n"

    iterations, salt, passphrase = 600000, fixed("passphrase salt", 16), b"correct horse"
    k = hashlib.pbkdf2_hmac("sha256", passphrase, salt, iterations)
    ad = b"coffer/keyfile/1/file" + u(iterations, 4) + salt
    sealed = gcm(k, fixed("passphrase nonce", 12), json.dumps(ring).encode(), ad)
    wrapped_file = json.dumps({
        "format": "coffer keyfile", "version": 1,
        "passphrase": {"kdf": "PBKDF2-HMAC-SHA-256", "iterations": iterations, "salt": b64(salt)},
        "sealed": b64(sealed),
    }, indent=2) + "\n"

    context, wrapped = {"app": "coffer", "finding": "01"}, []
    for i, key in enumerate(keys):
        for recipient in ("reveal", "verify"):
            dk = fixed(f"wrapped/{i}/{recipient}", 32)
            ad = b"coffer/keyfile/1/wrap" + field(recipient.encode(), 1) + field(key["id"].encode(), 1) + context_bytes(context)
            blob = gcm(base64.b64decode(key[recipient]), fixed(f"wrapped/{i}/{recipient}/nonce", 12), dk, ad)
            wrapped.append({"recipient": recipient, "provider": "keyfile", "keyID": key["id"], "blob": blob.hex(), "dataKey": dk.hex()})
    return {"plain": plain, "wrapped": wrapped_file, "passphrase": passphrase.decode(), "current": ring["current"],
            "context": context, "dataKeys": wrapped}


vectors = {
    "messages": [
        message("one", {"app": "coffer", "finding": "0a1b2c"}, [
            {"recipient": "reveal", "provider": "mem", "keyID": "k1", "blob": fixed("blob 1", 40).hex()},
            {"recipient": "verify", "provider": "mem", "keyID": "k2", "blob": fixed("blob 2", 40).hex()},
        ]),
        message("two", {}, [{"recipient": "reveal", "provider": "p", "keyID": "", "blob": "00"}]),
        message("four", {"b": "", "a": "x" * 256, "A": "\u00e9", "aa": "1"}, [
            {"recipient": "verify", "provider": "aws-kms", "keyID": "arn:2", "blob": fixed("blob 3", 184).hex()},
            {"recipient": "reveal", "provider": "aws-kms", "keyID": "arn:1", "blob": fixed("blob 4", 184).hex()},
            {"recipient": "reveal", "provider": "aws-kms", "keyID": "arn:3", "blob": fixed("blob 5", 184).hex()},
            {"recipient": "verify", "provider": "aws-kms", "keyID": "arn:1", "blob": fixed("blob 6", 4096).hex()},
        ]),
    ],
    "store": store_values(),
    "keyFile": key_file(),
}
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "vectors.json"), "w") as f:
    json.dump(vectors, f, indent=1)
    f.write("\n")
