// Verifies tokens from standard input, one JSON string a line, and answers each with a
// line: "" if it accepts the token, or the reason why not.
import { createInterface } from 'node:readline'
import { JwtVerifier } from 'aws-jwt-verify'
import { createRemoteJWKSet, jwtVerify } from 'jose'

const [library, issuer, audience] = process.argv.slice(2)
const jwksUri = issuer + '/.well-known/jwks.json'

function withJose() {
  const keys = createRemoteJWKSet(new URL(jwksUri))
  const options = {
    issuer, audience, algorithms: ['RS256'], requiredClaims: ['exp'],
    maxTokenAge: '24h', // without it, jose ignores iat
  }
  return token => jwtVerify(token, keys, options)
}

function withAWSJWTVerify() {
  const verifier = JwtVerifier.create({
    issuer, audience, jwksUri,
    customJwtCheck({ payload }) { // it does not check iat itself
      if (payload.iat > Date.now() / 1000) throw new Error('issued in the future')
    },
  })
  return token => verifier.verify(token)
}

const verify = { jose: withJose, 'aws-jwt-verify': withAWSJWTVerify }[library]()
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await verify(JSON.parse(line)).then(() => '', error => error.message || String(error))
  process.stdout.write(JSON.stringify(answer) + '\n')
}
