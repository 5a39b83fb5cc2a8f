"use strict";

// How a password follows from the secret. README.md describes every step, and
// vectors.json holds what has to come out. Nothing here touches the page.
const passwords = (() => {
  const iterations = 600000;
  const version = "postern-passwords-1";

  // The characters of each class, without those that are taken for others.
  const classes = {
    lower: "abcdefghijkmnopqrstuvwxyz",
    upper: "ABCDEFGHJKLMNPQRSTUVWXYZ",
    digits: "23456789",
    symbols: "!#$%&*+-=?@_",
  };

  const words = (
    "acorn anchor apple arrow badger beacon bell birch " +
    "boat bridge candle castle cedar cherry cloud clover " +
    "comet coral crane crown daisy desert dragon eagle " +
    "ember falcon feather fern flute forest fox garden " +
    "ginger glacier harbor harp hazel heron honey island " +
    "ivory jasmine kettle lagoon lantern lemon lion maple " +
    "meadow mirror moon ocean olive otter pearl pepper " +
    "river rocket saddle silver thunder tiger violin willow"
  ).split(" ");

  const bytes = (text) => new TextEncoder().encode(text);

  // site brings the ways of writing a site to one: "https://www.Example.com/x"
  // is "example.com".
  const site = (text) =>
    text.trim().normalize("NFC").toLowerCase()
      .replace(/^[a-z][a-z0-9+.-]*:\/\//, "")
      .replace(/[/?#].*$/s, "")
      .replace(/^www\./, "");

  // stretch is the slow step: 32 bytes by PBKDF2 with HMAC-SHA-256.
  const stretch = async (secret, salt) => {
    const key = await crypto.subtle.importKey("raw", bytes(secret.normalize("NFC")), "PBKDF2", false, ["deriveBits"]);
    return crypto.subtle.deriveBits({ name: "PBKDF2", hash: "SHA-256", salt: bytes(salt), iterations }, key, 256);
  };

  // stream yields bytes without end: HMAC-SHA-256 of 1, 2, 3 …, each a 32-bit
  // big-endian number.
  async function* stream(bits) {
    const key = await crypto.subtle.importKey("raw", bits, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    for (let n = 1; ; n++) {
      const counter = new DataView(new ArrayBuffer(4));
      counter.setUint32(0, n);
      yield* new Uint8Array(await crypto.subtle.sign("HMAC", key, counter));
    }
  }

  // alphabet returns the characters of the chosen classes, in fixed order.
  const alphabet = (chosen) => Object.keys(classes).filter((name) => chosen.includes(name)).map((name) => classes[name]).join("");

  // derive returns the password for a site. Every password that has the length
  // and a character of each chosen class is equally likely.
  const derive = async ({ secret, site: where, account = "", counter = 1, length = 20, chosen = Object.keys(classes) }) => {
    const names = Object.keys(classes).filter((name) => chosen.includes(name));
    if (!secret || !site(where)) throw new Error("a secret and a site are needed");
    if (!names.length || length < names.length) throw new Error("at least one kind of character is needed");
    const all = alphabet(names);
    const salt = [version, site(where), account.trim().normalize("NFC"), counter, length, names.join("+")].join("\n");
    const limit = 256 - (256 % all.length);
    let candidate = "";
    for await (const byte of stream(await stretch(secret, salt))) {
      if (byte >= limit) continue; // would make the first characters likelier
      candidate += all[byte % all.length];
      if (candidate.length < length) continue;
      if (names.every((name) => [...classes[name]].some((c) => candidate.includes(c)))) return candidate;
      candidate = ""; // a class is missing: draw a whole new one
    }
  };

  // fingerprint returns three words for a secret, by the same slow step, so
  // that a typing error is seen. They say nothing that helps to guess faster.
  const fingerprint = async (secret) => {
    const out = new Uint8Array(await stretch(secret, version + "\nfingerprint"));
    return [...out.slice(0, 3)].map((byte) => words[byte % words.length]);
  };

  // strength returns the bits of chance in a password.
  const strength = (length, chosen) => Math.floor(length * Math.log2(alphabet(chosen).length || 1));

  return { classes, words, site, derive, fingerprint, strength };
})();

if (typeof module !== "undefined") module.exports = passwords;
