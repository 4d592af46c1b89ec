// An identity provider and authorization server as people run one: the certified `oidc-provider`, with its own forms to sign in, its own
// keys and its own clock. Only who is known to it, and for which clients, is the test's.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { createServer } from 'node:http';

const require = createRequire(process.env.NODE_CLIENTS + '/');
const { Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

// Whom it knows, and what they are in; `gone` is known until somebody says `POST /test/forget?login=gone`.
const people = {
  ada: ['staff', 'ops'],
  lee: ['search-leads'],
  eve: ['staff'],
  gone: ['ops'],
};
const client = (client_id) => ({
  client_id,
  client_secret: process.env.CLIENT_SECRET,
  redirect_uris: [process.env.REDIRECT_URL],
  grant_types: ['authorization_code'],
  response_types: ['code'],
});
// Programs that ask for tokens of their own; which team they are of is said with each token.
const program = (client_id) => ({
  client_id,
  client_secret: process.env.CLIENT_SECRET,
  redirect_uris: [],
  grant_types: ['client_credentials'],
  response_types: [],
});

const server = createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [client('gateway'), client('hasty'), program('search-bot'), program('stray-bot')],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  // What somebody is in stands in the id token, not behind another call.
  conformIdTokenClaims: false,
  ttl: {
    AuthorizationCode: (_, __, asking) => (asking.clientId === 'hasty' ? 1 : 60),
    ClientCredentials: 600,
    AccessToken: 600,
    IdToken: 600,
    Interaction: 600,
    Session: 600,
    Grant: 600,
  },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
  },
  extraTokenClaims: (_, token) => (token.clientId === 'search-bot' ? { team: 'search', models: 'm' } : { team: 'nobody-here' }),
  findAccount: (_, id) =>
    people[id] && {
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: people[id] }),
    },
});
const answer = provider.callback();
server.on('request', (request, response) => {
  const url = new URL(request.url, issuer);
  if (request.method === 'POST' && url.pathname === '/test/forget') {
    delete people[url.searchParams.get('login')];
    response.writeHead(204).end();
    return;
  }
  answer(request, response);
});
process.stdout.write(JSON.stringify({ url: issuer }) + '\n');
