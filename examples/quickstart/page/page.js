// The client of the quickstart: a key of WebCrypto, DPoP proofs (RFC 9449), and
// the mistakes and attacks that a person can try with them. No library, no build.
"use strict";

const encoder = new TextEncoder();

function base64url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
const part = (value) => base64url(encoder.encode(JSON.stringify(value)));
const sha256 = async (text) => base64url(await crypto.subtle.digest("SHA-256", encoder.encode(text)));

// newKey makes a key pair whose private half scripts can use and cannot read.
async function newKey() {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, false, ["sign", "verify"]);
  const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  return { pair, jwk: { kty, crv, x, y } };
}

// proof makes a DPoP proof. A spoiler changes one thing in it before it is signed,
// or the finished proof.
async function proof(key, method, url, token, spoil = {}) {
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: { ...key.jwk } };
  const claims = { jti: crypto.randomUUID(), htm: method, htu: url, iat: Math.floor(Date.now() / 1000) };
  if (token) claims.ath = await sha256(token);
  if (spoil.nonce) claims.nonce = spoil.nonce;
  spoil.header?.(header);
  await spoil.claims?.(claims);
  const input = part(header) + "." + part(claims);
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.pair.privateKey, encoder.encode(input));
  const made = input + "." + base64url(signature);
  return spoil.proof ? spoil.proof(made) : made;
}

let world; // what the page's server says: the addresses of the issuer and of the service
let key, token; // the honest client's
let last; // the last proof that the service accepted

async function start() {
  world = await (await fetch("world")).json();
  key = await newKey();
  const answer = await fetch("token", { method: "POST", headers: { DPoP: await proof(key, "POST", world.token_endpoint) } });
  token = (await answer.json()).access_token;
}

// call makes one request of the browser to the guarded service.
async function call(method, path, headers) {
  const response = await fetch(path, { method, headers });
  return (await fetch("exchanges/" + response.headers.get("X-Exchange"))).json();
}

async function dpop(method, path, signer = key, spoil) {
  const made = await proof(signer, method, world.service + path, token, spoil);
  const seen = await call(method, path, { Authorization: "DPoP " + token, DPoP: made });
  if (seen.status === 200) last = made;
  return seen;
}

const spoilt = (title, spoil, expected = 401) => ({ title, expected, run: () => dpop("GET", "/orders", key, spoil) });

const attempts = [
  { group: "The honest client" },
  { title: "Call the service", expected: 200, run: () => dpop("GET", "/orders") },
  {
    title: "Call where nonces are demanded", expected: 200,
    run: async () => {
      const first = await dpop("GET", "/payments");
      return first.nonce ? dpop("GET", "/payments", key, { nonce: first.nonce }) : first;
    },
  },
  { title: "Call without any credentials", expected: 401, run: () => call("GET", "/orders", {}) },
  { title: "Call a route that needs more scopes", expected: 403, run: () => dpop("POST", "/orders") },

  { group: "The thief has the token" },
  { title: "Use it as a bearer token", expected: 401, run: () => call("GET", "/orders", { Authorization: "Bearer " + token }) },
  { title: "Use it under DPoP, without a proof", expected: 401, run: () => call("GET", "/orders", { Authorization: "DPoP " + token }) },
  { title: "Sign with a key of their own", expected: 401, run: async () => dpop("GET", "/orders", await newKey()) },

  { group: "The thief has a proof, too" },
  {
    title: "Replay it", expected: 401,
    run: async () => {
      await dpop("GET", "/orders");
      return call("GET", "/orders", { Authorization: "DPoP " + token, DPoP: last });
    },
  },
  {
    title: "Use it for another method", expected: 401,
    run: async () => call("POST", "/orders", { Authorization: "DPoP " + token, DPoP: await proof(key, "GET", world.service + "/orders", token) }),
  },
  {
    title: "Use it for another URL", expected: 401,
    run: async () => call("GET", "/orders", { Authorization: "DPoP " + token, DPoP: await proof(key, "GET", world.service + "/invoices", token) }),
  },

  { group: "A proof with one thing wrong" },
  spoilt("htu: another service", { claims: (c) => { c.htu = "https://other.example/orders"; } }),
  spoilt("iat: five minutes old", { claims: (c) => { c.iat -= 300; } }),
  spoilt("iat: five minutes ahead", { claims: (c) => { c.iat += 300; } }),
  spoilt("iat: missing", { claims: (c) => { delete c.iat; } }),
  spoilt("jti: missing", { claims: (c) => { delete c.jti; } }),
  spoilt("ath: of another token", { claims: async (c) => { c.ath = await sha256("another token"); } }),
  spoilt("typ: an ordinary JWT", { header: (h) => { h.typ = "JWT"; } }),
  spoilt("alg: none", { header: (h) => { h.alg = "none"; } }),
  spoilt("jwk: another key than the signature's", { header: (h) => { h.jwk.x = h.jwk.y; } }),
  spoilt("signature: one character changed", { proof: (p) => p.slice(0, -10) + (p.at(-10) === "A" ? "B" : "A") + p.slice(-9) }),

  { group: "A certificate-bound token" },
  { title: "Over the client's certificate", expected: 200, run: () => certificate("machine") },
  { title: "Over another certificate", expected: 401, run: () => certificate("thief") },
  { title: "Without a certificate", expected: 401, run: () => certificate("none") },
];

// certificate has the page's server make the call: a script cannot choose the
// certificate of a connection.
async function certificate(name) {
  const response = await fetch("certificate/" + name, { method: "POST" });
  return (await fetch("exchanges/" + response.headers.get("X-Exchange"))).json();
}

const element = (id) => document.getElementById(id);

function show(attempt, seen) {
  element("request").textContent = seen.request;
  element("response").textContent = seen.response;
  element("log").textContent = seen.log;
  element("steps").replaceChildren(...seen.steps.map((step) => {
    const item = document.createElement("li");
    item.className = step.result;
    item.textContent = step.text;
    return item;
  }));
  attempt.mark.textContent = seen.status;
  attempt.mark.className = seen.status < 400 ? "accepted" : "refused";
}

async function take(attempt) {
  for (const other of attempts) other.button?.removeAttribute("aria-current");
  attempt.button.setAttribute("aria-current", "true");
  try {
    const seen = await attempt.run();
    show(attempt, seen);
    return seen.status === attempt.expected;
  } catch (failure) {
    element("verdict").textContent = "The call failed: " + failure.message;
    return false;
  }
}

function button(title, run) {
  const made = document.createElement("button");
  made.append(title);
  made.addEventListener("click", run);
  return made;
}

async function all() {
  let expected = 0, total = 0;
  for (const attempt of attempts) {
    if (!attempt.run) continue;
    total++;
    if (await take(attempt)) expected++;
    else attempt.button.dataset.unexpected = "true";
  }
  element("verdict").textContent = `${expected} of ${total} outcomes were the expected ones.`;
}

for (const attempt of attempts) {
  if (attempt.group) {
    const heading = document.createElement("h2");
    heading.textContent = attempt.group;
    element("attempts").append(heading);
    continue;
  }
  attempt.button = button(attempt.title, () => take(attempt));
  attempt.mark = attempt.button.appendChild(document.createElement("span"));
  element("attempts").append(attempt.button);
}
element("attempts").append(document.createElement("hr"), button("Try all of them", all));

start().then(() => {
  const wanted = new URLSearchParams(location.search).get("run"); // for the test: "all" or a title
  if (wanted === "all") return all();
  const attempt = attempts.find((a) => a.title === wanted);
  if (attempt) return take(attempt);
}).catch((failure) => { element("verdict").textContent = "The page could not start: " + failure.message; });
