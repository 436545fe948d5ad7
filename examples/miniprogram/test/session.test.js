const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, test } = require('node:test')
const { APPID, Page, Phone, consoleCalls, codes, listen, send, session, settle, startStage, waitFor } = require('./rig')

const MINUTE = 60 * 1000
const DAY = 24 * 60 * MINUTE

let stage, phone, page
const cleanups = []
before(async () => { stage = await startStage(); cleanups.push(stage.close) })
after(async () => { for (const cleanup of cleanups.reverse()) await cleanup() })
beforeEach(() => { phone = new Phone(stage) })
afterEach(() => {
  if (page) page.detach()
  page = null
  assert.equal(phone.timers.length, 0, 'timers left at the end')
  assert.deepEqual(consoleCalls.splice(0), [])
})

/** visit starts the mini-program and returns the session's state once it is known. */
async function visit(url = stage.loginUrl, options = {}) {
  if (page) page.detach()
  page = null
  phone.launch()
  session.open({ url, ...options })
  await waitFor('the renewal', () => session.state.status !== 'asking')
  return session.state
}

/** tap opens a page with the component, taps, and keeps the token. */
async function tap(properties) {
  page = new Page(phone, { url: stage.url, ...properties })
  page.component.addEventListener('result', ({ detail }) => {
    if (detail.outcome === 'success') session.save(detail.data)
  })
  await page.consent()
  const result = await page.result()
  assert.equal(result.outcome, 'success')
  return result.data
}

/** firstVisit is a visit with a tap. */
async function firstVisit() {
  await visit()
  const data = await tap()
  page.detach()
  page = null
  return data
}

/** backend starts a backend. It keeps the requests, and gives the answers in turn. */
async function backend(...answers) {
  const requests = []
  const server = await listen(async (request, response, body) => {
    requests.push({ method: request.method, url: request.url, headers: request.headers, body })
    const answer = answers[Math.min(requests.length, answers.length) - 1] || { status: 200 }
    if (answer === 'lost') return response.socket.destroy()
    if (typeof answer === 'function') return answer(request, response, body)
    response.writeHead(answer.status, { 'content-type': 'application/json' })
    response.end(JSON.stringify(answer.data || {}))
  })
  cleanups.push(server.close)
  return { url: server.url, requests, tokens: () => requests.map(({ headers }) => headers.authorization) }
}

/** request sends a request through the session, and returns what its callbacks got. */
function request(options) {
  const calls = []
  return new Promise(resolve => session.request({
    ...options,
    success: response => calls.push(['success', response]),
    fail: failure => calls.push(['fail', failure]),
    complete: () => setTimeout(() => {
      assert.equal(calls.length, 1, 'callbacks before complete')
      resolve({ [calls[0][0]]: calls[0][1] })
    }),
  }))
}

/** claims returns a token's claims. */
const claims = token => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))

// From one visit to the next.

test('the first visit needs a tap, and the second does not', async () => {
  const first = await visit()
  assert.equal(first.status, 'tap')
  assert.equal(first.reason, 'new')
  assert.match(first.openid, /^o/)
  assert.equal(first.e164, undefined)
  assert.deepEqual(Object.keys(phone.renewals[0]).sort(), ['appid', 'code'])
  const { e164, openid } = await tap()
  assert.equal(openid, first.openid)
  assert.equal(session.state.status, 'known')
  assert.equal(session.state.e164, e164)

  await phone.jump(DAY)
  const second = await visit()
  assert.deepEqual([second.status, second.openid, second.e164], ['known', openid, e164])
  assert.deepEqual(Object.keys(phone.renewals[1]).sort(), ['appid', 'code', 'token'])
  assert.equal(phone.renewals[1].appid, APPID)
  assert.equal(claims(session.kept.token).phone_number, e164)
  assert.equal(phone.posts.length, 1, 'taps')
})

test('with cleared storage the next visit needs a tap', async () => {
  await firstVisit()
  phone.storage.clear()
  const { status, reason, e164 } = await visit()
  assert.deepEqual([status, reason, e164], ['tap', 'new', undefined])
})

test('another user of the phone needs a tap, and never sees the first one', async () => {
  const { openid } = await firstVisit()
  phone.user += '-another'
  const heard = []
  phone.launch()
  session.watch(state => heard.push(state))
  session.open({ url: stage.loginUrl })
  await waitFor('the renewal', () => session.state.status !== 'asking')
  assert.deepEqual([session.state.status, session.state.reason], ['tap', 'foreign'])
  assert.notEqual(session.state.openid, openid)
  for (const state of heard) assert.notEqual(state.openid, openid)
  for (const state of heard) assert.equal(state.e164, undefined)
})

test('a number that was verified 30 days ago needs a tap', async () => {
  await firstVisit()
  await phone.jump(30 * DAY - MINUTE)
  assert.equal((await visit()).status, 'known')
  await phone.jump(MINUTE)
  const { status, reason, e164 } = await visit()
  assert.deepEqual([status, reason, e164], ['tap', 'expired', undefined])
  const again = await visit()
  assert.deepEqual([again.status, again.reason], ['tap', 'no_phone'])
})

test('a token that the function did not make needs a tap', async () => {
  await firstVisit()
  const kept = wx.getStorageSync('phone-login-session')
  for (const token of ['', 'x', `${kept.token}x`, kept.token.slice(0, -8)]) {
    wx.setStorageSync('phone-login-session', { ...kept, token })
    const { status, reason } = await visit()
    assert.deepEqual([status, reason], ['tap', 'invalid'], `a token of ${token.length} characters`)
  }
})

test('storage that is not the session\'s counts as empty, and full storage is not a failure', async () => {
  for (const value of ['text', { token: 7, life: 1 }, { token: 'x' }, [], null]) {
    wx.setStorageSync('phone-login-session', value)
    const { status, reason } = await visit()
    assert.deepEqual([status, reason], ['tap', 'new'], JSON.stringify(value))
  }
  wx.setStorageSync = () => { throw new Error('setStorageSync:fail exceed storage max size') }
  wx.getStorageSync = () => { throw new Error('getStorageSync:fail') }
  await visit()
  await tap()
  assert.equal(session.state.status, 'known')
})

test('offline, the page sees who the last visit\'s user was, until a renewal', async () => {
  const { openid, e164 } = await firstVisit()
  phone.online = false
  const state = await visit()
  assert.deepEqual([state.status, state.error, state.openid, state.e164], ['offline', 'offline', openid, e164])
  assert.equal(phone.renewals.length, 1, 'renewals: none was sent offline')
  phone.online = true
  session.renew()
  await waitFor('a renewal', () => session.state.status === 'known')
  assert.equal(session.state.error, undefined)
})

test('renew does nothing while the token is good', async () => {
  await firstVisit()
  let state
  session.renew(done => { state = done })
  assert.equal(state.status, 'known')
  await settle()
  assert.equal(phone.renewals.length, 1)
})

test('clear forgets the user', async () => {
  await firstVisit()
  session.clear()
  assert.deepEqual([session.state.status, session.state.openid, phone.storage.size], ['tap', undefined, 0])
  const { status, reason } = await visit()
  assert.deepEqual([status, reason], ['tap', 'new'])
})

test('clear and save cancel a renewal that is under way', async () => {
  await firstVisit()
  phone.launch()
  session.open({ url: stage.loginUrl })
  session.clear()
  await settle()
  assert.equal(phone.renewals.length, 1, 'renewals: none began after clear')

  let answer
  const { url } = await backend(async (request, response) => {
    await new Promise(resolve => { answer = resolve })
    response.end('{"openid":"o","token":"renewed","expiresIn":900,"renewed":true}')
  })
  phone.launch()
  session.open({ url })
  await waitFor('a renewal', () => answer)
  session.save({ token: 'saved', expiresIn: 900, openid: 'o' })
  answer()
  await settle()
  assert.equal(session.kept.token, 'saved')
  assert.equal(wx.getStorageSync('phone-login-session').token, 'saved')
})

test('watchers get the state at once, and after each change until they stop', async () => {
  const heard = []
  const stop = session.watch(({ status }) => heard.push(status))
  session.open({ url: stage.loginUrl })
  await waitFor('the renewal', () => heard.includes('tap'))
  stop()
  session.clear()
  assert.deepEqual(heard, ['asking', 'asking', 'tap'])
})

/** visits opens the mini-program 30 times in 29 days, and taps if that is needed. */
async function visits(before) {
  for (let day = 0; day < 30; day++) {
    if (day) await phone.jump(DAY)
    await before(day)
    if ((await visit()).status === 'tap') await tap()
    const shop = await request({ url: stage.shop.url })
    assert.equal(shop.success.statusCode, 200)
  }
  const tokens = stage.shop.tokens().map(header => claims(header.replace('Bearer ', '')))
  assert.equal(new Set(tokens.map(({ phone_number: number }) => number)).size, 1, 'phone numbers of all visits')
  return phone.posts.length
}

test('30 visits in 29 days with a key rotation: one tap', async () => {
  stage.shop = await backend()
  assert.equal(await visits(async day => { if (day === 14) await stage.keys.rotate() }), 1)
  const kids = stage.shop.tokens().map(header => Buffer.from(header.split(/[ .]/)[1], 'base64url').toString())
  assert.equal(new Set(kids).size, 2, 'keys that signed')
  await phone.jump(DAY + MINUTE)
  assert.equal((await visit()).reason, 'expired', 'a day later')
})

test('30 visits in 29 days with storage cleared twice: three taps', async () => {
  stage.shop = await backend()
  assert.equal(await visits(async day => { if (day === 10 || day === 20) phone.storage.clear() }), 3)
})

// Failures of a renewal.

test('a failure that no retry can fix is reported to the page', async () => {
  const data = { error: 'user_blocked', action: 'none', message: 'm', requestId: 'r' }
  const { url } = await backend({ status: 403, data })
  const { status, error, message, requestId } = await visit(url)
  assert.deepEqual([status, error, message, requestId], ['failed', 'user_blocked', 'm', 'r'])
  phone.requestFailure = { errMsg: 'request:fail url not in domain list', errno: 600002 }
  const state = await visit()
  assert.deepEqual([state.status, state.error, state.errMsg, state.errno],
    ['failed', 'cannot_connect', 'request:fail url not in domain list', 600002])
})

test('a backend gets the headers and fields of open', async () => {
  const { url, requests } = await backend({ status: 200, data: {} })
  await visit(url, { header: { 'x-tenant': 'one' }, data: { tenant: 1, code: 'not this' } })
  const { tenant, code } = JSON.parse(requests[0].body)
  assert.deepEqual([requests[0].headers['x-tenant'], tenant], ['one', 1])
  assert.notEqual(code, 'not this')
})

test('an answer without a token fails', async () => {
  const { url } = await backend({ status: 200, data: { openid: 'o' } })
  const { status, error } = await visit(url)
  assert.deepEqual([status, error], ['failed', 'no_token'])
  session.save(null)
  assert.deepEqual([session.state.status, session.state.error], ['failed', 'no_token'])
})

test('lost answers and busy servers are retried, each time with a new code', async () => {
  const { url, requests } = await backend('lost', { status: 503, data: { error: 'unavailable', action: 'retry' } },
    { status: 429 }, async (request, response, body) => {
      const answer = await phone.send(stage.loginUrl, { method: 'POST', body })
      response.writeHead(answer.statusCode, answer.header)
      response.end(answer.text)
    })
  session.open({ url })
  for (const ms of [1000, 2000]) {
    await waitFor('a pause', () => phone.timers.length)
    await phone.advance(ms)
  }
  await waitFor('the last answer', () => session.state.status !== 'asking')
  assert.equal(session.state.status, 'offline', 'after a 429, which has fewer retries')
  session.renew()
  await waitFor('the renewal', () => session.state.status === 'tap')
  const sent = requests.map(({ body }) => JSON.parse(body).code)
  assert.equal(new Set(sent).size, 4)
})

test('without an answer after all retries, the page knows why', async () => {
  const { url, requests } = await backend('lost')
  session.open({ url })
  for (const ms of [1000, 2000, 4000]) {
    await waitFor('a pause', () => phone.timers.length)
    await phone.advance(ms)
  }
  await waitFor('the end', () => session.state.status === 'offline')
  assert.equal(session.state.error, 'no_answer')
  assert.equal(requests.length, 4)

  phone.loginFailure = { errMsg: 'login:fail system error', errno: 1000 }
  session.renew()
  for (const ms of [1000, 2000, 4000]) {
    await waitFor('a pause', () => phone.timers.length)
    await phone.advance(ms)
  }
  await waitFor('the end', () => session.state.error === 'no_login')
  assert.deepEqual([session.state.errMsg, session.state.errno], ['login:fail system error', 1000])
})

// Requests.

test('a request has the token, and the headers and callbacks of its own', async () => {
  await firstVisit()
  const shop = await backend({ status: 201, data: { order: 7 } })
  const { success } = await request({ url: shop.url, method: 'POST', header: { 'x-shop': '7' }, data: { item: 1 } })
  assert.deepEqual([success.statusCode, success.data], [201, { order: 7 }])
  assert.equal(shop.requests[0].headers['x-shop'], '7')
  assert.equal(shop.requests[0].headers.authorization, `Bearer ${session.kept.token}`)
  assert.equal(shop.requests[0].body, '{"item":1}')
})

test('a token is renewed a minute before it expires, once for all who wait', async () => {
  await firstVisit()
  const shop = await backend()
  await phone.jump(14 * MINUTE - 1)
  await request({ url: shop.url })
  assert.equal(phone.renewals.length, 1)
  await phone.jump(1)
  await Promise.all([1, 2, 3].map(n => request({ url: `${shop.url}/${n}` })))
  assert.equal(phone.renewals.length, 2)
  const [first, ...later] = shop.tokens()
  assert.equal(new Set(later).size, 1)
  assert.notEqual(later[0], first)
  assert.equal(later[0], `Bearer ${session.kept.token}`)
})

test('a token with the shortest life serves more than one request', async () => {
  await firstVisit()
  session.save({ token: 'short', expiresIn: 60 })
  const shop = await backend()
  await request({ url: shop.url })
  phone.time += 53 * 1000
  await request({ url: shop.url })
  assert.deepEqual(shop.tokens(), ['Bearer short', 'Bearer short'])
})

test('a token is renewed if the phone\'s clock was set back', async () => {
  await firstVisit()
  const shop = await backend()
  phone.time -= DAY
  await request({ url: shop.url })
  assert.equal(phone.renewals.length, 2)
})

test('a request before the first renewal waits for it', async () => {
  const shop = await backend()
  session.open({ url: stage.loginUrl })
  await request({ url: shop.url })
  assert.equal(claims(shop.tokens()[0]).scope, 'openid')
  assert.equal(phone.renewals.length, 1)
})

test('without a token a request fails, and the next one tries again', async () => {
  const shop = await backend()
  phone.online = false
  await visit()
  const { fail } = await request({ url: shop.url })
  assert.deepEqual([fail.status, fail.error], ['offline', 'offline'])
  assert.equal(fail.errMsg, 'request:fail no token: offline offline')
  phone.online = true
  assert.equal((await request({ url: shop.url })).success.statusCode, 200)
})

test('offline, a token that is about to expire is still used', async () => {
  await firstVisit()
  const shop = await backend()
  await phone.jump(14.5 * MINUTE)
  phone.online = false // for wx.getNetworkType and wx.login
  assert.equal((await request({ url: shop.url })).success.statusCode, 200)
  assert.equal(session.state.status, 'offline')
})

test('a GET without an answer renews an older token and is repeated once', async () => {
  await firstVisit()
  const shop = await backend('lost', { status: 200 }, 'lost')
  await phone.jump(MINUTE)
  assert.equal((await request({ url: shop.url })).success.statusCode, 200)
  assert.equal(phone.renewals.length, 2)
  const [refused, renewed] = shop.tokens()
  assert.notEqual(refused, renewed)

  const fresh = await request({ url: shop.url })
  assert(fresh.fail, 'a new token cannot have expired')
  await phone.jump(MINUTE)
  const twice = await request({ url: shop.url })
  assert(twice.fail, 'it is repeated once')
  assert.equal(shop.requests.length, 5)
})

test('a request without an answer is not repeated if it may have been served, or the phone is offline', async () => {
  await firstVisit()
  const shop = await backend('lost')
  await phone.jump(MINUTE)
  assert.equal((await request({ url: shop.url, method: 'POST', data: {} })).fail.errMsg, 'request:fail')
  phone.online = false
  assert.equal((await request({ url: shop.url })).fail.errMsg, 'request:fail')
  assert.deepEqual([shop.requests.length, phone.renewals.length], [2, 1])
})

test('a 401 renews the token, and the request is repeated once', async () => {
  await firstVisit()
  const shop = await backend({ status: 401 }, { status: 201 }, { status: 401 })
  await phone.jump(MINUTE)
  assert.equal((await request({ url: shop.url, method: 'POST', data: { item: 1 } })).success.statusCode, 201)
  assert.equal(shop.requests[1].body, '{"item":1}')
  assert.equal((await request({ url: shop.url })).success.statusCode, 401, 'a new token is not renewed')
  await phone.jump(MINUTE)
  assert.equal((await request({ url: shop.url })).success.statusCode, 401, 'it is repeated once')
  assert.deepEqual([shop.requests.length, phone.renewals.length], [5, 3])
})

test('wx.uploadFile and wx.connectSocket get the same header, renewed if necessary', async () => {
  const header = () => new Promise(resolve => session.header(resolve))
  await firstVisit()
  assert.deepEqual(await header(), { Authorization: `Bearer ${session.kept.token}` })
  assert.equal(phone.renewals.length, 1)
  const { token } = session.kept
  await phone.jump(14 * MINUTE)
  const renewed = await header()
  assert.equal(phone.renewals.length, 2)
  assert.notEqual(session.kept.token, token)
  assert.deepEqual(renewed, { Authorization: `Bearer ${session.kept.token}` })
  await phone.jump(DAY)
  phone.online = false
  assert.deepEqual(await header(), {}, 'without a valid token')
})

// A backend that answers 200 to everything.

const WRAPPED = { successField: 'code', successValue: 0, dataField: 'data' }

/** wrap returns a backend's answer: it passes a request on to the function and wraps what the function answers. */
const wrap = url => async (request, response, body) => {
  const { statusCode, text } = await phone.send(url, { method: 'POST', body })
  const data = JSON.parse(text)
  const envelope = statusCode === 200 ? { code: 0, data } : { code: 50001, msg: data.error, action: data.action }
  response.end(JSON.stringify(envelope))
}

test('behind an envelope a tap is kept, and the second visit needs none', async () => {
  const login = await backend(wrap(stage.loginUrl))
  const url = `${login.url}/login`
  const first = await visit(url, WRAPPED)
  assert.deepEqual([first.status, first.reason], ['tap', 'new'])
  const { url: phoneURL } = await backend(wrap(stage.url))
  const { data } = await tap({ url: phoneURL, successField: 'code' })
  assert.deepEqual([session.state.status, session.state.e164], ['known', data.e164])
  session.save(data)
  assert.equal(session.state.status, 'known', 'after a page that unwraps the answer itself')
  await phone.jump(DAY)
  const second = await visit(url, WRAPPED)
  assert.deepEqual([second.status, second.e164, second.error], ['known', data.e164, undefined])
})

test('behind an envelope a failed renewal is a failure, and its action says what to do', async () => {
  const envelope = data => ({ status: 200, data: { code: 50001, ...data } })
  for (const [answer, status, error] of [
    [envelope({}), 'failed', 'envelope'],
    [envelope({ action: 'fix' }), 'failed', 'envelope'],
    [envelope({ error: 'user_blocked', action: 'none' }), 'failed', 'user_blocked'],
    [{ status: 200, data: { code: 0 } }, 'failed', 'no_token'],
    [{ status: 200, data: { code: 0, data: null } }, 'failed', 'no_token'],
  ]) {
    const { url } = await backend(answer)
    const state = await visit(url, WRAPPED)
    assert.deepEqual([state.status, state.error], [status, error], JSON.stringify(answer.data))
  }
  const { url, requests } = await backend(envelope({ action: 'retry' }), wrap(stage.loginUrl))
  phone.launch()
  session.open({ url, ...WRAPPED })
  await waitFor('a pause', () => phone.timers.length)
  await phone.advance(1000)
  await waitFor('the renewal', () => session.state.status === 'tap')
  assert.equal(requests.length, 2)
})

test('an envelope with the action login renews the token, and the request is repeated once', async () => {
  const refusal = { status: 200, data: { code: 40101, msg: 'token expired', action: 'login' } }
  const login = await backend(wrap(stage.loginUrl))
  await firstVisit()
  await visit(`${login.url}/login`, WRAPPED)
  const shop = await backend(refusal, { status: 200, data: { code: 0, action: 'login' } }, refusal,
    { status: 200, data: { code: 40300 } })
  await phone.jump(MINUTE)
  assert.equal((await request({ url: shop.url, method: 'POST', data: {} })).success.data.code, 0)
  assert.equal(shop.requests.length, 2)
  assert.equal((await request({ url: shop.url })).success.data.code, 40101, 'a new token is not renewed')
  await phone.jump(MINUTE)
  assert.equal((await request({ url: shop.url })).success.data.code, 40300, 'another failure')
  assert.equal(shop.requests.length, 4)
})

test('without successField, a body with an action is not a refusal', async () => {
  await firstVisit()
  const shop = await backend({ status: 200, data: { error: 'x', action: 'login' } })
  await phone.jump(MINUTE)
  await request({ url: shop.url })
  assert.equal(shop.requests.length, 1)
})

test('requests that are refused together share a renewal', async () => {
  await firstVisit()
  let refusals = 0
  const refuse = (request, response) => {
    response.writeHead(++refusals <= 3 ? 401 : 200)
    response.end('{}')
  }
  const shop = await backend(refuse)
  await phone.jump(MINUTE)
  const answers = await Promise.all([1, 2, 3].map(() => request({ url: shop.url })))
  assert.deepEqual(answers.map(({ success }) => success.statusCode), [200, 200, 200])
  assert.equal(phone.renewals.length, 2)
})

test('a request that was refused before a renewal is repeated with the new token', async () => {
  await firstVisit()
  let answer
  const shop = await backend({ status: 401 }, { status: 200 }, { status: 200 })
  const slow = await backend(async (request, response) => {
    await new Promise(resolve => { answer = resolve })
    response.writeHead(401)
    response.end()
  }, { status: 200 })
  await phone.jump(MINUTE)
  const waiting = request({ url: slow.url })
  await waitFor('the slow request', () => answer)
  assert.equal((await request({ url: shop.url })).success.statusCode, 200)
  answer()
  assert.equal((await waiting).success.statusCode, 200)
  assert.equal(slow.tokens()[1], `Bearer ${session.kept.token}`)
  assert.equal(phone.renewals.length, 2)
})

// The session and the button. wx.login() changes the session key on the stage, as it may
// on a phone. Then sealed data opens only if the code is the newest one.

/** points are the moments of a tap. Each does what is left until the next one. */
const points = [
  ['while the button waits for a code', async () => {}],
  ['just before the tap', async () => { await page.ready() }],
  ['while the user is asked for consent', async () => { await page.touch() }],
  ['while the page is hidden by the consent sheet', async () => { page.hide() }],
  ['when the consent sheet closes', async () => { page.show() }],
  ['during the post', async () => {
    page.emit({ errMsg: 'getPhoneNumber:ok', ...phone.tap })
    await waitFor('a post', () => phone.posts.length === 1)
  }],
  ['while the post waits for its retry', async ({ answer }) => {
    answer(503)
    await waitFor('a pause', () => page.note)
  }],
  ['during the retry', async () => {
    await phone.advance(1000)
    await waitFor('a retry', () => phone.posts.length === 2)
  }],
  ['after the answer', async ({ answer }) => {
    answer(200)
    await page.result()
  }],
]

for (const [at, [moment]] of points.entries()) {
  test(`a renewal ${moment} does not break the tap`, async () => {
    await visit()
    phone.shape = '' // sealed data
    let answer
    const gateway = await backend(async (request, response, body) => {
      const status = await new Promise(resolve => { answer = resolve })
      const real = status === 200 ? await phone.send(stage.url, { method: 'POST', body }) : null
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(real ? real.text : '{"error":"unavailable","action":"retry"}')
    })
    page = new Page(phone, { url: gateway.url })
    let logins
    for (const [index, [name, go]] of points.entries()) {
      await go({ answer: status => answer(status) })
      if (index === at) session.start()
      await settle()
      if (name === 'just before the tap') await page.ready()
      if (name === 'while the user is asked for consent') logins = phone.logins.length
      if (name === 'during the retry') assert.equal(phone.logins.length, logins, 'calls of wx.login() since the tap')
    }
    const { outcome, error } = await page.result()
    assert.deepEqual([outcome, error], ['success', undefined])
    await waitFor('the renewal', () => !session.renewing)
    assert.equal(phone.renewals.length, 2)
    phone.posts = []
    await page.ready()
    page.detach()
    await tap() // the next tap has a new code
  })
}

test('a renewal takes the button\'s code, so that there is one more call of wx.login()', async () => {
  await visit()
  page = new Page(phone, { url: stage.url })
  await page.ready()
  const before = phone.logins.length
  session.start()
  await waitFor('the renewal', () => !session.renewing)
  await page.ready()
  assert.equal(phone.renewals[1].code, phone.logins[before - 1])
  assert.equal(phone.logins.length, before + 1)
})

/** touchDuringLogin touches the button while wx.login() is under way, and returns what lets it go on. */
async function touchDuringLogin() {
  await visit()
  page = new Page(phone, { url: stage.url })
  await page.ready()
  const { login } = wx
  let go
  wx.login = options => { go = () => login(options) }
  session.start() // takes the button's code, and then the button logs in again
  await waitFor('a login', () => go)
  wx.login = login
  await page.touch('disabled') // the view may disable the button late
  return go
}

test('a tap while a renewal logs in waits for the code, and has it before the next renewal', async () => {
  for (phone.shape of ['phone-code', '']) {
    phone.posts = []
    const go = await touchDuringLogin()
    let taken
    codes.take(code => { taken = code })
    if (phone.shape) page.emit({ ...phone.tap })
    go()
    await waitFor('a code', () => codes.code)
    if (!phone.shape) page.emit({ ...phone.tap })
    assert.equal((await page.result()).outcome, 'success')
    await waitFor('a code for the next renewal', () => taken)
    assert.notEqual(taken, phone.posts[0].code)
    await page.ready()
    page.detach()
  }
})

test('a tap while a renewal logs in does not keep the code for ever', async () => {
  const go = await touchDuringLogin()
  go()
  await waitFor('a code', () => codes.code)
  const before = phone.logins.length
  await phone.advance(5 * MINUTE)
  await waitFor('another code', () => phone.logins[before])
})

test('a renewal that waited for a tap is not sent if the tap gave a token', async () => {
  await visit()
  page = new Page(phone, { url: stage.url })
  page.component.addEventListener('result', ({ detail }) => session.save(detail.data))
  await page.touch()
  let state
  session.kept.life = 0 // it has expired
  session.renew(done => { state = done })
  await settle()
  page.emit({ ...phone.tap })
  await waitFor('the state', () => state)
  assert.equal(state.status, 'known')
  await settle()
  assert.equal(phone.renewals.length, 1)
})
