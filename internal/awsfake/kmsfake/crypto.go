package kmsfake

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"maps"
	"slices"
)

// Documented limits, in bytes.
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxDataKey    = 1024
)

// A ciphertext is one byte of format, the number of the key's material, the key id with a byte of length before it, a nonce, the
// encrypted bytes and a tag over them, the header and the encryption context. KMS's own form is not documented; that it says
// by which key it was made is.
const blobFormat = 1

func header(k *key, material int) []byte {
	return append([]byte{blobFormat, byte(material), byte(len(k.id))}, k.id...)
}

// additional is what a ciphertext is bound to: its header and the encryption context, in order of the context's keys.
func additional(header []byte, context map[string]string) []byte {
	b := slices.Clone(header)
	for _, name := range slices.Sorted(maps.Keys(context)) {
		for _, s := range []string{name, context[name]} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
	}
	return b
}

func (v version) aead() cipher.AEAD {
	block, err := aes.NewCipher(v.key[:])
	if err != nil {
		panic(err) // the size is right
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (k *key) seal(plain []byte, context map[string]string) []byte {
	last := len(k.versions) - 1
	h := header(k, last)
	return k.versions[last].aead().Seal(h, nil, plain, additional(h, context))
}

var errCiphertext = fail("InvalidCiphertextException", "")

// open decrypts a ciphertext of one of the keys of the Region. When the request names a key, that one is used alone.
func (c *call) open(blob []byte, context map[string]string, named string) (_ *key, by version, plain []byte, err error) {
	if len(blob) == 0 || len(blob) > maxCiphertext {
		return nil, by, nil, fail("ValidationException", "a ciphertext has from 1 to %d bytes", maxCiphertext)
	}
	var k *key
	if named != "" {
		if k, err = c.key(named, true); err != nil {
			return nil, by, nil, err
		}
		if err := k.usable(); err != nil {
			return nil, by, nil, err
		}
	}
	if len(blob) < 3 || blob[0] != blobFormat || int(blob[2]) > len(blob)-3 {
		return nil, by, nil, errCiphertext
	}
	material, size := int(blob[1]), 3+int(blob[2])
	of := c.where.keys[string(blob[3:size])]
	switch {
	case of == nil:
		return nil, by, nil, errCiphertext
	case k != nil && k != of:
		return nil, by, nil, fail("IncorrectKeyException", "The key ID in the request does not identify a KMS key that can perform this operation.")
	case k == nil:
		if k, err = c.key(of.id, false); err != nil {
			return nil, by, nil, err
		}
		if err := k.usable(); err != nil {
			return nil, by, nil, err
		}
	}
	if material >= len(k.versions) {
		return nil, by, nil, errCiphertext
	}
	by = k.versions[material]
	plain, err = by.aead().Open(nil, nil, blob[size:], additional(blob[:size], context))
	if err != nil {
		return nil, by, nil, errCiphertext
	}
	return k, by, plain, nil
}

func (c *call) algorithm() error {
	if a := c.in.EncryptionAlgorithm; a != "" && a != "SYMMETRIC_DEFAULT" {
		return fail("InvalidKeyUsageException", "the key is symmetric")
	}
	return nil
}

// dry ends a dry run that would have succeeded.
func (c *call) dry() error {
	if c.in.DryRun {
		return fail("DryRunOperationException", "The request would have succeeded, but the DryRun parameter is set.")
	}
	return nil
}

func (c *call) encrypt() (any, error) {
	if n := len(c.in.Plaintext); n < 1 || n > maxPlaintext {
		return nil, fail("ValidationException", "a plaintext has from 1 to %d bytes", maxPlaintext)
	}
	k, err := c.key(c.in.KeyID, true)
	if err != nil {
		return nil, err
	}
	if err := k.usable(); err != nil {
		return nil, err
	}
	if err := c.algorithm(); err != nil {
		return nil, err
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	return map[string]any{"KeyId": k.arn(), "CiphertextBlob": k.seal(c.in.Plaintext, c.in.EncryptionContext), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"}, nil
}

func (c *call) decrypt() (any, error) {
	if err := c.algorithm(); err != nil {
		return nil, err
	}
	if c.in.DryRun && slices.Contains(c.in.DryRunModifiers, "IGNORE_CIPHERTEXT") {
		k, err := c.key(c.in.KeyID, true) // without a ciphertext nothing else names the key
		if err != nil {
			return nil, err
		}
		if err := k.usable(); err != nil {
			return nil, err
		}
		return nil, c.dry()
	}
	k, by, plain, err := c.open(c.in.CiphertextBlob, c.in.EncryptionContext, c.in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	return map[string]any{
		"KeyId": k.arn(), "Plaintext": plain, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "KeyMaterialId": by.id,
	}, nil
}

func (c *call) reEncrypt() (any, error) {
	c.event.Named, c.event.Context = c.in.DestinationKeyID, maps.Clone(c.in.DestinationEncryptionContext)
	from, _, plain, err := c.open(c.in.CiphertextBlob, c.in.SourceEncryptionContext, c.in.SourceKeyID)
	if err != nil {
		return nil, err
	}
	c.event.Source = from.arn()
	to, err := c.key(c.in.DestinationKeyID, true)
	if err != nil {
		return nil, err
	}
	if err := to.usable(); err != nil {
		return nil, err
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	return map[string]any{
		"CiphertextBlob": to.seal(plain, c.in.DestinationEncryptionContext), "SourceKeyId": from.arn(), "KeyId": to.arn(),
		"SourceEncryptionAlgorithm": "SYMMETRIC_DEFAULT", "DestinationEncryptionAlgorithm": "SYMMETRIC_DEFAULT",
	}, nil
}

func (c *call) generate(plaintext bool) (any, error) {
	n := 0
	switch {
	case (c.in.NumberOfBytes != nil) == (c.in.KeySpec != ""):
		return nil, fail("ValidationException", "exactly one of NumberOfBytes and KeySpec")
	case c.in.KeySpec == "AES_256":
		n = 32
	case c.in.KeySpec == "AES_128":
		n = 16
	case c.in.NumberOfBytes != nil:
		n = *c.in.NumberOfBytes
	}
	if n < 1 || n > maxDataKey {
		return nil, fail("ValidationException", "a data key has from 1 to %d bytes", maxDataKey)
	}
	k, err := c.key(c.in.KeyID, true)
	if err != nil {
		return nil, err
	}
	if err := k.usable(); err != nil {
		return nil, err
	}
	if err := c.dry(); err != nil {
		return nil, err
	}
	data := random(n)
	m := map[string]any{"KeyId": k.arn(), "CiphertextBlob": k.seal(data, c.in.EncryptionContext), "KeyMaterialId": k.versions[len(k.versions)-1].id}
	if plaintext {
		m["Plaintext"] = data
	}
	return m, nil
}
