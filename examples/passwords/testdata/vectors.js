"use strict";

// Runs derive.js as the page does and compares it with vectors.json.
const assert = require("node:assert/strict");
const passwords = require("../derive.js");
const vectors = require("../vectors.json");

(async () => {
  for (const { password, salt, ...input } of vectors.passwords) {
    assert.equal(await passwords.derive(input), password, JSON.stringify(input));
    assert.ok(salt.startsWith("postern-passwords-1\n" + passwords.site(input.site) + "\n"));
    assert.equal(password.length, input.length);
  }
  for (const { secret, words } of vectors.fingerprints) {
    assert.deepEqual(await passwords.fingerprint(secret), words);
  }

  // The same letters in another composition are the same secret.
  const german = vectors.passwords.find((v) => v.secret.includes("ä"));
  const apart = { ...german, secret: german.secret.normalize("NFD"), site: german.site.normalize("NFD"), account: german.account.normalize("NFD") };
  assert.notEqual(apart.secret, german.secret);
  assert.equal(await passwords.derive(apart), german.password);

  const sites = {
    "example.com": ["Example.com", " https://example.com/ ", "http://www.example.com/a/b?c#d", "www.example.com", "EXAMPLE.COM#x"],
    "example.com:8443": ["https://example.com:8443/x"],
    "www2.example.com": ["www2.example.com"],
    "": ["", " ", "https://", "/"],
  };
  for (const [want, ways] of Object.entries(sites)) {
    for (const way of ways) assert.equal(passwords.site(way), want, JSON.stringify(way));
  }

  for (const bad of [{ secret: "", site: "a" }, { secret: "a", site: " " }, { secret: "a", site: "a", chosen: [] }, { secret: "a", site: "a", length: 3 }]) {
    await assert.rejects(passwords.derive(bad), JSON.stringify(bad));
  }
  assert.equal(new Set(passwords.words).size, 64);
})().catch((error) => {
  process.stderr.write(error.stack + "\n");
  process.exitCode = 1;
});
