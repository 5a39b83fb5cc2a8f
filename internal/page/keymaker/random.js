// Gives node-forge the browser's own source of randomness, before any part of
// it looks for one.
import forge from "node-forge/lib/forge.js";

const getBytesSync = (n) => String.fromCharCode(...crypto.getRandomValues(new Uint8Array(n)));

forge.random = { getBytes: getBytesSync, getBytesSync };
