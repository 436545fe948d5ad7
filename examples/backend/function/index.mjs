// The gateway has checked the token before it calls this. Do not log the event: it holds the token and the number.

// A user of one mini-program. Another mini-program may have the same openid.
const user = claims => `${claims.client_id}/${claims.sub}`

const routes = {
  'GET /me': claims => ({ user: user(claims), unionid: claims.unionid, phone: claims.phone_number }),
  'GET /orders': claims => ({
    user: user(claims),
    phone: claims.phone_number,
    verifiedAt: new Date(claims.phone_number_verified_at * 1000).toISOString(), // in events, all claims are text
    orders: [], // from your database
  }),
}

export async function handler({ routeKey, requestContext }) {
  const body = routes[routeKey](requestContext.authorizer.jwt.claims)
  const headers = { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-store' }
  return { statusCode: 200, headers, body: JSON.stringify(body) }
}
