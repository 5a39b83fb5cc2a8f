// Obtains a certificate, renews and revokes it with the npm package
// acme-client, whose modules are looked for in NODE_PATH.
const fs = require('fs');
const http = require('http');
const acme = require('acme-client');

const env = process.env;
const answers = new Map();
const server = http.createServer((req, res) => {
  const answer = answers.get(req.url);
  res.writeHead(answer ? 200 : 404);
  res.end(answer);
});

async function main() {
  await new Promise((resolve) => server.listen(Number(env.HTTP_PORT), env.ADDRESS, resolve));
  const client = new acme.Client({
    directoryUrl: env.DIRECTORY,
    accountKey: await acme.crypto.createPrivateEcdsaKey(),
    externalAccountBinding: { kid: env.KID, hmacKey: env.HMAC_KEY },
    backoffMin: 100, backoffMax: 500,
  });
  const obtain = async (file) => {
    const [, csr] = await acme.crypto.createCsr({ altNames: [env.HOST] }, await acme.crypto.createPrivateEcdsaKey());
    const chain = await client.auto({
      csr,
      email: 'ops@example.com',
      termsOfServiceAgreed: true,
      skipChallengeVerification: true,
      challengePriority: ['http-01'],
      challengeCreateFn: async (authz, challenge, answer) => {
        answers.set(`/.well-known/acme-challenge/${challenge.token}`, answer);
      },
      challengeRemoveFn: async (authz, challenge) => {
        answers.delete(`/.well-known/acme-challenge/${challenge.token}`);
      },
    });
    fs.writeFileSync(file, chain);
    return chain;
  };
  await obtain('first.pem');
  const second = await obtain('second.pem');
  await client.revokeCertificate(second, { reason: 1 });
}

main().then(() => server.close(), (err) => {
  console.error(err);
  process.exit(1);
});
