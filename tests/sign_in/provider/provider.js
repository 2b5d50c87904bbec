// A certified OpenID provider whose people, keys and clocks the tests change while it runs.
//
// It reads commands as lines of JSON from stdin and answers each with a line on stdout; the first line
// that it prints is its issuer.

import { createInterface } from "node:readline";
import { createServer } from "node:http";
import { exportJWK, generateKeyPair } from "jose";
import { Provider } from "oidc-provider";

let client = { redirects: ["http://127.0.0.1/"], logout: undefined };
const people = new Map();
const ended = new Set();
let number = 0;

async function newKey() {
  const { privateKey } = await generateKeyPair("RS256", { extractable: true, modulusLength: 2048 });
  return { ...(await exportJWK(privateKey)), kid: `key-${++number}`, use: "sig", alg: "RS256" };
}

// One answers; a rotation makes another, which keeps what was stored.
const stored = new Map();
class Adapter {
  constructor(name) { this.name = name; }
  key(id) { return `${this.name}:${id}`; }
  async upsert(id, payload) { stored.set(this.key(id), payload); }
  async find(id) { return stored.get(this.key(id)); }
  async findByUid(uid) { return [...stored.values()].find((each) => each.uid === uid); }
  async findByUserCode(code) { return [...stored.values()].find((each) => each.userCode === code); }
  async consume(id) { const found = stored.get(this.key(id)); if (found) found.consumed = Math.floor(Date.now() / 1000); }
  async destroy(id) { stored.delete(this.key(id)); }
  async revokeByGrantId(grant) { for (const [key, each] of stored) if (each.grantId === grant) stored.delete(key); }
}

function make(issuer, keys) {
  const provider = new Provider(issuer, {
    adapter: Adapter,
    jwks: { keys },
    cookies: { keys: ["a test"] },
    clients: [
      {
        client_id: "deltareg",
        client_secret: "a-secret-of-the-tests",
        redirect_uris: client.redirects,
        grant_types: ["authorization_code", "refresh_token"],
        response_types: ["code"],
        backchannel_logout_uri: client.logout,
        backchannel_logout_session_required: Boolean(client.logout),
      },
    ],
    claims: { openid: ["sub"], profile: ["preferred_username", "groups"], email: ["email", "email_verified"] },
    conformIdTokenClaims: false,
    scopes: ["openid", "offline_access"],
    features: {
      backchannelLogout: { enabled: true },
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      resourceIndicators: { enabled: false },
      rpInitiatedLogout: { enabled: true },
    },
    fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options),  // its own asks no private address
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (context, client) => client.grantTypeAllowed("refresh_token"),
    findAccount: async (context, subject) => {
      const person = people.get(subject);
      if (!person || ended.has(subject)) return undefined;
      return { accountId: subject, claims: async () => ({ sub: subject, ...person }) };
    },
    interactions: { url: (context, interaction) => `/sign-in/${interaction.uid}` },
    loadExistingGrant: async (context) => {
      const grant = new context.oidc.provider.Grant({
        clientId: context.oidc.client.clientId, accountId: context.oidc.session.accountId,
      });
      grant.addOIDCScope("openid profile email offline_access");
      await grant.save();
      return grant;
    },
    ttl: { AccessToken: 60, AuthorizationCode: 60, Grant: 3600, IdToken: 300, Interaction: 600, RefreshToken: 3600, Session: 3600 },
  });
  return provider;
}

// The page where somebody says who they are: by a form, or by the name that the test lets them have.
async function interact(provider, request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method === "GET") {
    response.setHeader("content-type", "text/html");
    const names = [...people.keys()].map((name) => `<button name="who" value="${name}">${name}</button>`).join(" ");
    response.end(`<!doctype html><title>Provider</title><link rel="icon" href="data:,"><h1>Who are you?</h1><form method="post">${names}</form>`);
    return;
  }
  let body = "";
  for await (const part of request) body += part;
  const who = new URLSearchParams(body).get("who");
  const result = who
    ? { login: { accountId: who } }
    : { error: "access_denied", error_description: "they said no" };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  return details;
}

let provider;
let keys = [await newKey()];
const server = createServer((request, response) => {
  if (request.url.startsWith("/sign-in/")) {
    interact(provider, request, response).catch((error) => { response.statusCode = 500; response.end(String(error)); });
  } else {
    provider.callback()(request, response);
  }
});
const commands = {
  client: (given) => { client = given; provider = make(issuer, keys); },
  down: () => { server.close(); server.closeAllConnections(); },
  up: () => listen(port),
  person: ({ subject, ...claims }) => { people.set(subject, claims); ended.delete(subject); },
  disable: ({ subject }) => { ended.add(subject); },
  rotate: async () => { keys = [await newKey(), ...keys]; provider = make(issuer, keys); },
  replace: async () => { keys = [await newKey()]; provider = make(issuer, keys); },
  // What it says when a session of it ends, without the browser that would say so.
  logout: async ({ subject, first }) => {
    const known = await provider.Client.find("deltareg");
    const sessions = [...stored.entries()].filter(([key, each]) => key.startsWith("Session:") && each.accountId === subject);
    let sent = 0;
    for (const [, each] of sessions) {
      const sid = each.authorizations?.deltareg?.sid;
      if (sid && !(first && sent)) { await known.backchannelLogout(subject, sid); sent += 1; }
    }
    return { sent };
  },
  logout_token: async ({ subject }) => {
    const token = new provider.IdToken({}, { client: await provider.Client.find("deltareg"), ctx: undefined });
    token.mask = { sub: null };
    token.set("sub", subject);
    token.set("events", { "http://schemas.openid.net/event/backchannel-logout": {} });
    token.set("jti", `jti-${++number}`);
    return { token: await token.issue({ use: "logout" }) };
  },
};

const listen = (port) => new Promise((done) => server.listen(port, "127.0.0.1", done));
await listen(0);
const port = server.address().port;
const issuer = `http://127.0.0.1:${port}`;
provider = make(issuer, keys);
console.log(JSON.stringify({ issuer }));
for await (const line of createInterface({ input: process.stdin })) {
  const { does, ...given } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ ok: true, ...((await commands[does](given)) || {}) }));
  } catch (error) {
    console.log(JSON.stringify({ ok: false, error: String(error.stack || error) }));
  }
}
process.exit(0);
