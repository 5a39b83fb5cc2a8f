// Makes, in the browser, what an enrolment needs: a key that the server never
// sees, the certificate request for it, and the PKCS#12 file that a phone or a
// browser imports. The key and the request's signature come from WebCrypto;
// node-forge writes DER, and does what WebCrypto has no more: triple DES and
// the key derivation of PKCS#12.
import forge from "node-forge/lib/forge.js";
import "./random.js";
import "node-forge/lib/asn1.js";
import "node-forge/lib/hmac.js";
import "node-forge/lib/pbe.js";
import "node-forge/lib/sha1.js";
import "node-forge/lib/sha256.js";

const { asn1, util, pki } = forge;
const { Class, Type } = asn1;

// How the two encodings protect the file. "compatible" is what every Android,
// iOS, macOS and Windows opens; "modern" is refused by many, as a wrong
// password.
const encodings = {
  compatible: { cipher: { algorithm: "3des", count: 2048, saltSize: 8 }, digest: "sha1", oid: pki.oids.sha1, salt: 8 },
  modern: { cipher: { algorithm: "aes256", count: 2048, saltSize: 16, prfAlgorithm: "sha256" }, digest: "sha256", oid: pki.oids.sha256, salt: 16 },
};

const sequence = (...parts) => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, parts);
const set = (...parts) => asn1.create(Class.UNIVERSAL, Type.SET, true, parts);
const oid = (text) => asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(text).getBytes());
const integer = (n) => asn1.create(Class.UNIVERSAL, Type.INTEGER, false, asn1.integerToDer(n).getBytes());
const octets = (bytes) => asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, bytes);
const explicit = (...parts) => asn1.create(Class.CONTEXT_SPECIFIC, 0, true, parts);
const none = () => asn1.create(Class.UNIVERSAL, Type.NULL, false, "");
const der = (value) => asn1.toDer(value).getBytes();

// forge keeps bytes in strings, WebCrypto in arrays.
const toText = (bytes) => util.binary.raw.encode(new Uint8Array(bytes));
const toBytes = (text) => util.binary.raw.decode(text);
const pem = (label, text) => `-----BEGIN ${label}-----\n${util.encode64(text, 64).replace(/\r\n/g, "\n")}\n-----END ${label}-----\n`;

// unsigned writes one half of a signature as an INTEGER (X.690 section 8.3).
const unsigned = (bytes) => {
  let text = toText(bytes).replace(/^\0+/, "") || "\0";
  if (text.charCodeAt(0) > 127) text = "\0" + text;
  return asn1.create(Class.UNIVERSAL, Type.INTEGER, false, text);
};

// makeKey draws a P-256 key and returns it as PKCS#8, with the certificate
// request for it (RFC 2986), in PEM. The request has no name in it: names come
// from the invitation.
export async function makeKey() {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign"]);
  const key = toText(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  const spki = asn1.fromDer(toText(await crypto.subtle.exportKey("spki", pair.publicKey)));
  const info = sequence(integer(0), sequence(), spki, explicit());
  const signature = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, toBytes(der(info))));
  const signed = der(sequence(unsigned(signature.slice(0, 32)), unsigned(signature.slice(32))));
  const request = sequence(info, sequence(oid("1.2.840.10045.4.3.2")),
    asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, "\0" + signed));
  return { key, csr: pem("CERTIFICATE REQUEST", der(request)) };
}

// password returns 80 random bits as sixteen letters and digits in four groups.
// Of letters and digits that look alike only one is ever drawn.
export function password() {
  const letters = "0123456789abcdefghjkmnpqrstvwxyz";
  const drawn = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => letters[b & 31]).join("");
  return drawn.match(/.{4}/g).join("-");
}

// pack returns the PKCS#12 file (RFC 7292) of a key and its certificates, leaf
// first, as the answer gives them in PEM. name is what a device shows.
export function pack({ key, certificates, name, password, encoding }) {
  const how = encodings[encoding];
  const ders = certificates.match(/-----BEGIN CERTIFICATE-----[^-]*/g).map((block) =>
    util.decode64(block.replace("-----BEGIN CERTIFICATE-----", "").replace(/\s/g, "")));
  const mark = attributes(name, forge.md.sha1.create().update(ders[0]).digest().getBytes());
  const certs = ders.map((bytes, i) => sequence(
    oid(pki.oids.certBag),
    explicit(sequence(oid(pki.oids.x509Certificate), explicit(octets(bytes)))),
    ...(i === 0 ? [mark] : [])));
  const keys = sequence(sequence(
    oid(pki.oids.pkcs8ShroudedKeyBag),
    explicit(pki.encryptPrivateKeyInfo(asn1.fromDer(key), password, how.cipher)),
    mark));
  const safe = der(sequence(encrypted(sequence(...certs), password, how), data(der(keys))));
  return toBytes(der(sequence(integer(3), data(safe), mac(safe, password, how))));
}

// attributes name the key and its certificate alike, and tie them together.
const attributes = (name, id) => set(
  sequence(oid(pki.oids.friendlyName), set(asn1.create(Class.UNIVERSAL, Type.BMPSTRING, false, name))),
  sequence(oid(pki.oids.localKeyId), set(octets(id))));

const data = (bytes) => sequence(oid(pki.oids.data), explicit(octets(bytes)));

// encrypted is a ContentInfo of EncryptedData (RFC 2315 section 13).
const encrypted = (contents, password, how) => {
  const [algorithm, bytes] = pki.encryptPrivateKeyInfo(contents, password, how.cipher).value;
  const content = asn1.create(Class.CONTEXT_SPECIFIC, 0, false, bytes.value);
  return sequence(oid(pki.oids.encryptedData), explicit(
    sequence(integer(0), sequence(oid(pki.oids.data), algorithm, content))));
};

const mac = (safe, password, how) => {
  const salt = forge.random.getBytesSync(how.salt), digest = forge.md[how.digest].create();
  const key = forge.pbe.generatePkcs12Key(password, util.createBuffer(salt), 3, 2048, digest.digestLength, digest);
  const hmac = forge.hmac.create();
  hmac.start(how.digest, key);
  hmac.update(safe);
  return sequence(
    sequence(sequence(oid(how.oid), none()), octets(hmac.getMac().getBytes())),
    octets(salt), integer(2048));
};
