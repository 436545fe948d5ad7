const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, test } = require('node:test')
const {
  APPID, Page, Phone, consoleCalls, listen, send, settle, simulate, startStage, waitFor,
} = require('./rig')

const MINUTE = 60 * 1000

let stage, phone, page
const cleanups = []
before(async () => { stage = await startStage(); cleanups.push(stage.close) })
after(async () => { for (const cleanup of cleanups.reverse()) await cleanup() })
beforeEach(() => { phone = new Phone(stage) })
afterEach(() => {
  page.detach()
  assert.equal(phone.timers.length, 0, 'timers left after detach')
  assert.deepEqual(consoleCalls.splice(0), [])
})

const render = properties => (page = new Page(phone, { url: stage.url, ...properties }))

/** gateway starts a gateway that gives the answers in turn, and then repeats the last one. */
async function gateway(...answers) {
  let nth = 0
  const server = await listen(async (request, response, body) => {
    const answer = answers[Math.min(nth++, answers.length - 1)]
    if (typeof answer === 'function') return answer(request, response, body)
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.header })
    response.end(JSON.stringify(answer.data))
  })
  cleanups.push(server.close)
  return `${server.url}/phone`
}

/** forward is an answer for gateway(): the function's own. */
async function forward(request, response, body) {
  const answer = await phone.send(stage.url, { method: 'POST', body })
  response.writeHead(answer.statusCode, answer.header)
  response.end(answer.text)
}

/** assertSamePosts asserts that the page has sent the same post n times. */
const assertSamePosts = n => {
  assert.equal(phone.posts.length, n)
  for (const post of phone.posts) assert.deepEqual(post, phone.posts[0])
}

// The tap and its result.

test('a phone code is posted with the login code from before the tap', async () => {
  render()
  await page.consent()
  const { outcome, data } = await page.result()
  assert.equal(outcome, 'success')
  assert.match(data.phoneNumber, /^1350000\d{4}$/)
  assert.equal(data.e164, `+86${data.phoneNumber}`)
  assert(data.openid)
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['appid', 'code', 'phoneCode'])
  assert.equal(phone.posts[0].code, phone.logins[0])
  assert.equal(page.note, 'Logged in')
})

test('sealed data is posted if WeChat gives no phone code', async () => {
  phone.shape = ''
  render()
  await page.consent()
  const { outcome, data } = await page.result()
  assert.equal(outcome, 'success')
  assert.match(data.phoneNumber, /^1350000\d{4}$/)
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['appid', 'code', 'encryptedData', 'iv'])
})

test('a phone code is preferred to sealed data', async () => {
  render()
  await page.touch()
  page.emit({ errMsg: 'getPhoneNumber:ok', encryptedData: 'AAAA', iv: 'AAAA', ...phone.tap })
  assert.equal((await page.result()).outcome, 'success')
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['appid', 'code', 'phoneCode'])
})

test('the realtime button has its own event', async () => {
  render({ realtime: true })
  await page.touch()
  assert.equal(page.button.openType, 'getRealtimePhoneNumber')
  page.emit({ errMsg: 'getRealtimePhoneNumber:ok', ...phone.tap }, 'getrealtimephonenumber')
  assert.equal((await page.result()).outcome, 'success')
})

test('a tap is posted once, even if the button reports it twice', async () => {
  render()
  await page.touch()
  page.emit({ ...phone.tap })
  page.emit({ ...phone.tap })
  assert.equal((await page.result()).outcome, 'success')
  await settle()
  assert.equal(phone.posts.length, 1)
  assert.equal(page.results.length, 1)
})

test('the outcome tells why the button failed, and nothing is posted', async () => {
  render()
  for (const [detail, outcome, note] of [
    [{ errMsg: 'getPhoneNumber:fail user deny' }, 'refused', /did not share/],
    [{ errMsg: 'getPhoneNumber:fail:user deny' }, 'refused', /did not share/],
    [{ errMsg: 'getPhoneNumber:fail user cancel' }, 'refused', /did not share/],
    [{ errMsg: 'getPhoneNumber:fail', errno: 1400001 }, 'no_quota', /another way/],
    [
      { errMsg: 'getPhoneNumber:fail privacy permission is not authorized', errno: 104 },
      'privacy_refused', /consent to the privacy guide/,
    ],
    [{ errMsg: 'getPhoneNumber:fail privacy permission is not authorized' }, 'privacy_refused', /privacy guide/],
    [{ errMsg: 'getPhoneNumber:fail', errno: 104 }, 'privacy_refused', /privacy guide/],
    [
      { errMsg: 'getPhoneNumber:fail api scope is not declared in the privacy agreement', errno: 112 },
      'privacy_undeclared', /another way/,
    ],
    [{ errMsg: 'getPhoneNumber:fail jsapi has no permission', errno: 102 }, 'button_failed', /returned no phone/],
    [{}, 'button_failed', /returned no phone number/],
  ]) {
    await page.touch()
    const before = page.results.length
    page.emit(detail)
    const result = await page.result(before + 1)
    assert.equal(result.outcome, outcome)
    assert.equal(result.errMsg, detail.errMsg)
    assert.equal(result.errno, detail.errno)
    assert.match(page.note, note)
  }
  assert.equal(page.button.phoneNumberNoQuotaToast, false) // the note says the same
  assert.equal(phone.posts.length, 0)
})

test('events after the end of a tap are ignored', async () => {
  render()
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  await page.ready()
  page.emit({ ...phone.tap })
  page.emit({ errMsg: 'getPhoneNumber:fail user deny' })
  await settle()
  assert.equal(phone.posts.length, 1)
  assert.equal(page.results.length, 1)
  assert.equal(page.note, 'Logged in')
})

test('events do not revive a stopped button', async () => {
  render({ url: await gateway({ status: 403, data: { error: 'user_blocked', action: 'none' } }) })
  await page.consent()
  assert.equal((await page.result()).outcome, 'failed')
  page.emit({ code: 'another' })
  await page.touch('disabled') // the view may disable the button late
  page.emit({ code: 'another' })
  await settle()
  assert.equal(phone.posts.length, 1)
  assert.equal(page.results.length, 1)
  assert.equal(page.button.disabled, true)
})

// The login code.

test('the button is disabled until there is a login code', async () => {
  render()
  assert.equal(page.button.disabled, true)
  await page.ready()
  assert.equal(phone.logins.length, 1)
  assert.equal(page.button.openType, 'getPhoneNumber')
})

test('the login code is renewed before it expires, each time', async () => {
  render()
  await page.ready()
  await phone.advance(4.5 * MINUTE - 1)
  assert.equal(phone.logins.length, 1)
  await phone.advance(1)
  await waitFor('a second login', () => phone.logins[1])
  await phone.advance(4.5 * MINUTE)
  await waitFor('a third login', () => phone.logins[2])
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[2])
})

test('the page logs in again when it comes back, but not when it first appears', async () => {
  render()
  page.show()
  await page.ready()
  assert.equal(phone.logins.length, 1)
  page.hide()
  await phone.advance(20 * MINUTE)
  assert.equal(phone.logins.length, 1, 'logins while the page is hidden')
  page.show()
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[1])
})

test('hide and show between a tap and the end of its post do not log in', async () => {
  for (phone.shape of ['phone-code', '']) {
    const before = phone.logins.length
    let answer
    const held = new Promise(resolve => { answer = resolve })
    render({ url: await gateway(async (...args) => { await held; await forward(...args) }) })
    await page.touch()
    page.hide()
    page.show()
    await settle()
    page.emit({ ...phone.tap })
    await waitFor('a post', () => phone.posts.length === 1)
    phone.time += 5 * MINUTE // even if the answer takes longer than the code lives
    page.hide()
    page.show()
    await settle()
    assert.equal(phone.logins.length, before + 1)
    assert.equal(page.button.text, 'Logging in…')
    answer()
    assert.equal((await page.result()).outcome, 'success')
    assert.equal(phone.posts[0].code, phone.logins[before])
    await waitFor('a login for the next tap', () => phone.logins.length === before + 2)
    await page.ready()
    page.detach()
    phone.posts = []
  }
})

test('the data is posted even if the button reports it while the page is hidden', async () => {
  render()
  await page.touch()
  page.hide()
  page.emit({ ...phone.tap })
  assert.equal((await page.result()).outcome, 'success')
  await settle()
  assert.equal(phone.logins.length, 1, 'logins while the page is hidden')
  await page.touch('disabled') // the event is late
  page.show()
  await page.ready()
  assert.equal(phone.logins.length, 2)
  assert.equal(page.note, 'Logged in', 'the note after the return')
  page.hide()
  page.show()
  assert.equal(page.note, '')
})

test('the login code is not renewed while the user is asked for consent', async () => {
  render()
  await page.touch()
  await phone.advance(5 * MINUTE - 1)
  assert.equal(phone.logins.length, 1)
  page.emit({ ...phone.tap })
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[0])
})

test('a consent after five minutes is not posted: its login code has been renewed', async () => {
  render()
  await page.touch()
  const { tap } = phone
  await phone.advance(5 * MINUTE)
  await waitFor('a second login', () => phone.logins[1])
  page.emit({ ...tap })
  const { outcome, error } = await page.result()
  assert.deepEqual([outcome, error], ['tap_again', 'no_code'])
  assert.equal(phone.posts.length, 0)
  await page.consent()
  assert.equal((await page.result(2)).outcome, 'success')
})

test('a code that expired while the phone slept is not posted', async () => {
  render()
  await page.touch()
  phone.time += 5 * MINUTE // no timer has fired yet
  page.emit({ ...phone.tap })
  const { outcome, error } = await page.result()
  assert.deepEqual([outcome, error], ['tap_again', 'code_expired'])
  assert.equal(phone.posts.length, 0)
})

test('a tap without a callback does not keep the code forever', async () => {
  render()
  await page.touch()
  page.hide()
  await phone.advance(20 * MINUTE)
  page.show()
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[1])
})

// The function's answers.

test('a used code: log in and tap again', async () => {
  render()
  await page.touch()
  const tap = { ...phone.tap }
  const body = JSON.stringify({ code: phone.logins[0], phoneCode: tap.code })
  const used = await phone.send(stage.url, { method: 'POST', body })
  assert.equal(used.statusCode, 200)
  page.emit(tap)
  const { outcome, error, status, message, requestId } = await page.result()
  assert.deepEqual([outcome, error, status], ['tap_again', 'code_rejected', 400])
  assert(message && requestId)
  assert.equal(page.note, 'Login did not work. Please tap again')
  await page.consent()
  assert.equal((await page.result(2)).outcome, 'success')
  assert.equal(phone.posts.length, 2)
})

test('an expired login code or phone code: log in and tap again', async () => {
  // WeChat gives the same answer for an expired code as for an unknown one.
  render()
  await page.touch()
  page.emit({ code: 'expired' })
  let result = await page.result()
  assert.deepEqual([result.outcome, result.error], ['tap_again', 'code_rejected'])
  await page.ready()
  page.detach()

  const { login } = wx
  wx.login = ({ success }) => setTimeout(success, 0, { code: 'expired' })
  render()
  await page.touch()
  wx.login = login
  page.emit({ ...phone.tap })
  result = await page.result()
  assert.deepEqual([result.outcome, result.error], ['tap_again', 'code_rejected'])
  await page.consent()
  assert.equal((await page.result(2)).outcome, 'success')
})

test('sealed data that does not open: log in and tap again', async () => {
  phone.shape = ''
  render()
  await page.touch()
  page.emit({ ...phone.tap, iv: Buffer.alloc(16).toString('base64') })
  const { outcome, error } = await page.result()
  assert.deepEqual([outcome, error], ['tap_again', 'undecryptable'])
})

test('a lost answer: the used codes are not sent again', async () => {
  for (phone.shape of ['phone-code', '']) {
    let lost
    render({
      url: await gateway(async (request, response, body) => {
        lost = await phone.send(stage.url, { method: 'POST', body })
        response.socket.destroy()
      }, forward),
    })
    await page.consent()
    const { outcome, error } = await page.result()
    assert.deepEqual([outcome, error], ['tap_again', 'no_answer'])
    assert.equal(lost.statusCode, 200, 'status of the lost answer')
    await phone.advance(MINUTE)
    assert.equal(phone.posts.length, 1)
    await page.consent()
    assert.equal((await page.result(2)).outcome, 'success')
    assert.equal(phone.posts.length, 2)
    const sent = phone.posts.map(({ appid, ...post }) => Object.values(post)).flat()
    assert.equal(new Set(sent).size, sent.length, 'values sent, without duplicates')
    await page.ready()
    page.detach()
    phone.posts = []
  }
})

test('each failure of WeChat leads to the right step', async t => {
  // A second function. Its WeChat is the first one's, except for scripted answers.
  let script = () => null
  let calls = 0
  const proxy = await listen(async (request, response, body) => {
    if (request.url.startsWith('/sns/')) calls++
    const scripted = request.url.startsWith('/sns/') && script(calls)
    if (scripted === 'lost') return response.socket.destroy()
    if (scripted) return response.end(JSON.stringify(scripted))
    const answer = await send(stage.wechat + request.url, { method: request.method, body: body || undefined })
    response.writeHead(answer.statusCode, { 'content-type': 'text/plain' })
    response.end(answer.text)
  })
  cleanups.push(proxy.close)
  const second = await startStage({ wechat: proxy.url })
  cleanups.push(second.close)
  const start = async scripted => {
    calls = 0
    script = scripted
    phone.posts = []
    render({ url: second.url })
    await page.consent()
  }
  const stop = () => page.detach()

  await t.test('429 rate_limited: one retry after a minute', async () => {
    await start(nth => nth === 1 && { errcode: 45011, errmsg: 'api minute-quota reach limit' })
    await waitFor('a waiting note', () => page.note)
    assert.equal(page.note, 'Busy. Trying again in 60 s')
    assert.equal(page.button.disabled, true)
    await phone.advance(MINUTE - 1)
    assert.equal(phone.posts.length, 1)
    await phone.advance(1)
    assert.equal((await page.result()).outcome, 'success')
    assertSamePosts(2)
    stop()
  })

  await t.test('429 rate_limited forever: two retries', async () => {
    await start(() => ({ errcode: 45011, errmsg: 'api minute-quota reach limit' }))
    for (let n = 1; n <= 2; n++) {
      await waitFor('a waiting note', () => page.note)
      await phone.advance(MINUTE)
      await waitFor('a post', () => phone.posts.length === n + 1)
      await waitFor('the answer', () => page.note)
    }
    const { outcome, error, status } = await page.result()
    assert.deepEqual([outcome, error, status], ['later', 'rate_limited', 429])
    assertSamePosts(3)
    stop()
  })

  await t.test('503 unavailable: retries until WeChat is back', async () => {
    // The function itself calls a busy WeChat up to three times.
    await start(nth => nth <= 3 && { errcode: -1, errmsg: 'system error' })
    await waitFor('a waiting note', () => page.note)
    assert.equal(page.note, 'Busy. Trying again in 1 s')
    await phone.advance(1000)
    assert.equal((await page.result()).outcome, 'success')
    assertSamePosts(2)
    stop()
  })

  await t.test('503 unavailable forever: three retries', async () => {
    await start(() => ({ errcode: -1, errmsg: 'system error' }))
    for (const [n, ms] of [1000, 2000, 4000].entries()) {
      await waitFor('a waiting note', () => page.note)
      await phone.advance(ms - 1)
      assert.equal(phone.posts.length, n + 1)
      await phone.advance(1)
      await waitFor('a post', () => phone.posts.length === n + 2)
    }
    const { outcome, error, status } = await page.result()
    assert.deepEqual([outcome, error, status], ['later', 'unavailable', 503])
    assertSamePosts(4)
    stop()
  })

  await t.test('502 upstream_error: log in and tap again', async () => {
    await start(nth => nth === 1 && 'lost')
    const { outcome, error, status } = await page.result()
    assert.deepEqual([outcome, error, status], ['tap_again', 'upstream_error', 502])
    await page.consent()
    assert.equal((await page.result(2)).outcome, 'success')
    assert.notEqual(phone.posts[0].code, phone.posts[1].code)
    stop()
  })

  await t.test('403 user_blocked: disabled until the page comes back', async () => {
    await start(nth => nth === 1 && { errcode: 40226, errmsg: 'code blocked' })
    const { outcome, error, status, requestId } = await page.result()
    assert.deepEqual([outcome, error, status], ['failed', 'user_blocked', 403])
    assert.equal(page.note, `Login failed. Please contact support ${requestId}`)
    await phone.advance(MINUTE)
    assert.equal(page.button.disabled, true)
    page.hide()
    page.show()
    await page.consent()
    assert.equal((await page.result(2)).outcome, 'success')
    stop()
  })
})

// The gateway's own answers.

test('429 from the gateway forever: two retries', async () => {
  render({ url: await gateway({ status: 429, data: { message: 'Too Many Requests' } }) })
  await page.consent()
  await waitFor('a waiting note', () => page.note === 'Busy. Trying again in 5 s')
  await phone.advance(5000)
  await waitFor('a longer wait', () => page.note === 'Busy. Trying again in 15 s')
  await phone.advance(15000)
  const { outcome, error, status } = await page.result()
  assert.deepEqual([outcome, error, status], ['later', undefined, 429])
  assertSamePosts(3)
  await phone.advance(MINUTE)
  assert.equal(phone.posts.length, 3)
})

test('429 from the gateway, then a success: no retry before retry-after', async () => {
  const tooMany = { status: 429, header: { 'Retry-After': '9' }, data: { message: 'Too Many Requests' } }
  render({ url: await gateway(tooMany, forward) })
  await page.consent()
  await waitFor('a waiting note', () => page.note === 'Busy. Trying again in 9 s')
  await page.touch('disabled') // the view may disable the button late
  await settle()
  await phone.advance(8999)
  assert.equal(phone.posts.length, 1)
  await phone.advance(1)
  assert.equal((await page.result()).outcome, 'success')
  assertSamePosts(2)
})

test('no retry if the code would expire before it', async () => {
  render({ url: await gateway({ status: 429, header: { 'retry-after': '300' }, data: {} }) })
  await page.consent()
  assert.equal((await page.result()).outcome, 'later')
  assert.equal(phone.posts.length, 1)
})

test('a code that expired before a retry, while the phone slept, is not posted', async () => {
  render({ url: await gateway({ status: 429, data: {} }) })
  await page.consent()
  await waitFor('a waiting note', () => page.note)
  phone.time += 10 * MINUTE
  await phone.advance(0)
  const { outcome, error } = await page.result()
  assert.deepEqual([outcome, error], ['tap_again', 'code_expired'])
  assert.equal(phone.posts.length, 1)
})

test('5xx from the gateway: log in and tap again', async () => {
  for (const status of [500, 503]) {
    render({ url: await gateway({ status, data: { message: 'Internal Server Error' } }, forward) })
    await page.consent()
    const result = await page.result()
    assert.deepEqual([result.outcome, result.error, result.status], ['tap_again', undefined, status])
    await phone.advance(MINUTE)
    assert.equal(phone.posts.length, 1)
    await page.consent()
    assert.equal((await page.result(2)).outcome, 'success')
    assert.notEqual(phone.posts[0].code, phone.posts[1].code)
    await page.ready()
    page.detach()
    phone.posts = []
  }
})

test('4xx from the gateway: failed, and the button stays disabled', async () => {
  render({ url: stage.url.replace('/phone', '/other') })
  await page.consent()
  const { outcome, status } = await page.result()
  assert.deepEqual([outcome, status], ['failed', 404])
  await settle()
  assert.equal(page.button.disabled, true)
  assert.equal(page.note, 'Login failed. Please contact support')
})

// Without a network.

test('data that was not sent without a network is sent when there is one', async () => {
  render()
  await page.touch()
  phone.online = false
  page.emit({ ...phone.tap })
  await waitFor('a waiting note', () => page.note)
  assert.equal(phone.posts.length, 0)
  phone.online = true
  await phone.advance(1000)
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[0])
})

test('without a network the tap ends after three retries', async () => {
  render()
  await page.touch()
  phone.online = false
  page.emit({ ...phone.tap })
  for (const ms of [1000, 2000, 4000]) {
    await waitFor('a waiting note', () => page.note)
    await phone.advance(ms)
  }
  const { outcome, error } = await page.result()
  assert.deepEqual([outcome, error], ['later', 'offline'])
  assert.equal(phone.posts.length, 0)
})

test('a failed connection counts as a lost answer', async () => {
  render({ url: 'http://127.0.0.1:1/phone' })
  await page.consent()
  const { outcome, error } = await page.result()
  assert.deepEqual([outcome, error], ['tap_again', 'no_answer'])
})

test('without a login code the button says Try again', async () => {
  phone.online = false
  render()
  for (const ms of [1000, 2000, 4000]) {
    await waitFor('a pause', () => phone.timers.length)
    assert.equal(page.button.disabled, true)
    await phone.advance(ms)
  }
  await page.ready()
  assert.equal(phone.logins.length, 4)
  assert.equal(page.button.text, 'Try again')
  assert.equal(page.button.openType, '')
  assert.match(page.note, /Check the network/)
  await phone.advance(MINUTE)
  assert.equal(phone.logins.length, 4, 'calls of wx.login()')
  const { outcome, error, errMsg } = await page.result()
  assert.deepEqual([outcome, error, errMsg], ['no_login', 'offline', 'login:fail'])
  phone.online = true
  await page.touch()
  await waitFor('a login', () => page.button.openType === 'getPhoneNumber')
  assert.equal(page.note, '')
  await page.consent()
  assert.equal((await page.result(2)).outcome, 'success')
})

test('the page is told once why wx.login() fails, and the note does not blame the network', async () => {
  phone.loginFailure = { errMsg: 'login:fail system error', errno: 1000 }
  render()
  for (const ms of [1000, 2000, 4000]) {
    await waitFor('a pause', () => phone.timers.length)
    assert.deepEqual(page.results, [], 'results before the last try')
    await phone.advance(ms)
  }
  const result = await page.result()
  assert.deepEqual(result, { outcome: 'no_login', error: undefined, ...phone.loginFailure })
  await page.ready()
  assert.equal(page.note, 'WeChat could not log you in. Please try again')
  assert.equal(page.button.text, 'Try again')
  phone.loginFailure = null
  await page.touch()
  await waitFor('a login', () => page.button.openType === 'getPhoneNumber')
  await page.consent()
  assert.equal((await page.result(2)).outcome, 'success')
  assert.equal(page.results.length, 2)
})

test('a failed wx.login() is not reported by a button that is gone, or that logs in again', async () => {
  for (const leave of [() => page.detach(), () => { page.hide(); page.show() }]) {
    phone.loginFailure = { errMsg: 'login:fail system error' }
    let online
    wx.getNetworkType = ({ success }) => { online = success }
    render()
    for (const ms of [1000, 2000, 4000]) {
      await waitFor('a pause', () => phone.timers.length)
      await phone.advance(ms)
    }
    await waitFor('a check of the network', () => online)
    phone.loginFailure = null
    leave()
    online({ networkType: 'wifi' })
    await settle()
    assert.deepEqual(page.results, [])
    assert.equal(page.note, '')
    page.detach()
  }
})

// Failures of wx.request().

test('what no retry can fix fails at once, and WeChat\'s words reach the page', async () => {
  render()
  phone.requestFailure = { errMsg: 'request:fail url not in domain list', errno: 600002 }
  await page.consent()
  const { outcome, error, errMsg, errno } = await page.result()
  assert.deepEqual([outcome, error], ['failed', 'cannot_connect'])
  assert.deepEqual({ errMsg, errno }, phone.requestFailure)
  assert.equal(page.button.disabled, true)
  page.hide()
  page.show()
  phone.requestFailure = { errMsg: 'request:fail timeout', errno: 5 }
  await page.consent()
  const lost = await page.result(2)
  assert.deepEqual([lost.outcome, lost.error, lost.errMsg, lost.errno],
    ['tap_again', 'no_answer', 'request:fail timeout', 5])
})

// Your backend in place of the function.

test('any 2xx of a backend is a success', async () => {
  const session = { session: 'made-up' }
  render({ url: await gateway({ status: 201, data: session }) })
  await page.consent()
  const { outcome, data, status } = await page.result()
  assert.deepEqual([outcome, data, status], ['success', session, 201])
})

test('an envelope that is not a success fails, unless it has an action', async () => {
  const refusal = { code: 50001, msg: 'no such shop' }
  const wants = { code: 50002, action: 'login' }
  const url = await gateway(...[refusal, wants, { code: 200 }].map(data => ({ status: 200, data })))
  render({ url, successField: 'code', successValue: '200' })
  await page.consent()
  const { outcome, error, data, status } = await page.result()
  assert.deepEqual([outcome, error, data, status], ['failed', 'envelope', refusal, 200])
  assert.equal(page.button.disabled, true, 'another tap would be charged')
  page.hide()
  page.show()
  await page.consent()
  assert.equal((await page.result(2)).outcome, 'tap_again')
  await page.consent()
  assert.equal((await page.result(3)).outcome, 'success')
})

test('header, data and appid go with the post, and cannot replace the codes', async () => {
  let headers
  render({
    url: await gateway(async (request, response, body) => {
      headers = request.headers
      await forward(request, response, body)
    }),
    header: { 'x-shop': '7' }, data: { shop: 7, code: 'x' }, appid: APPID,
  })
  wx.getAccountInfoSync = () => ({ miniProgram: { appId: 'wx9999999999999999' } })
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(headers['x-shop'], '7')
  const { code, shop, appid } = phone.posts[0]
  assert.deepEqual([code, shop, appid], [phone.logins[0], 7, APPID])
})

test('a test account has no appid to send', async () => {
  wx.getAccountInfoSync = () => ({ miniProgram: { appId: 'touristappid' } })
  render()
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['code', 'phoneCode'])
})

// The component on a page.

test('a disabled button accepts no tap, and posts nothing', async () => {
  render({ disabled: true })
  await waitFor('a login code', () => phone.logins[0])
  await settle()
  assert.equal(page.button.disabled, true)
  await page.touch('disabled') // the view may disable the button late
  page.emit({ ...phone.tap })
  await settle()
  assert.deepEqual([phone.posts, page.results], [[], []])
  page.component.setData({ disabled: false })
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.logins[0], phone.posts[0].code)
})

test('the label is yours while the button waits for a tap', async () => {
  let answer
  const held = new Promise(resolve => { answer = resolve })
  render({ label: 'Join the club', url: await gateway(async (...args) => { await held; await forward(...args) }) })
  assert.equal(page.button.text, 'Join the club')
  await page.consent()
  await waitFor('a post', () => phone.posts.length)
  assert.equal(page.button.text, 'Logging in…')
  assert.equal(page.button.ariaLabel, 'Logging in…')
  answer()
  await page.result()
  await page.ready()
  assert.equal(page.button.text, 'Join the club')
  assert.equal(page.button.ariaLabel, 'Join the club')
})

test('a page can put content into the button and give it a style', async () => {
  const id = simulate.load({
    template: `<phone-login url="{{url}}" button-class="mine" note-class="small" bindresult="onResult">
      <text class="icon">☎</text></phone-login>`,
    usingComponents: { 'phone-login': page.definition },
    data: { url: stage.url },
  })
  const outer = simulate.render(id)
  outer.attach(document.body)
  const button = outer.dom.querySelector('wx-button')
  assert.match(button.textContent, /☎\s*Log in with phone number/)
  assert.match(button.className, /\bmine\b/)
  assert.match(outer.dom.querySelector('wx-button + wx-view').className, /\bsmall\b/)
  outer.detach()
})

test('a button that is removed does not break another\'s tap', async () => {
  phone.shape = '' // sealed data
  render()
  const other = new Page(phone, { url: stage.url })
  await page.touch()
  other.detach()
  await settle()
  page.emit({ ...phone.tap })
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[0])
})

test('a button that is added while another\'s login is under way waits for its code', async () => {
  render()
  page.detach()
  render()
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[0])
})

test('two buttons share the login code, and after a tap on one the other gets a new code', async () => {
  render()
  const first = page
  render()
  await first.ready()
  await page.ready()
  const before = phone.logins.length
  await first.touch()
  assert.equal(page.button.disabled, true, 'the other button during a tap')
  await phone.advance(MINUTE)
  first.emit({ ...phone.tap })
  assert.equal((await first.result()).outcome, 'success')
  await page.ready()
  assert.equal(phone.logins.length, before + 1)
  await page.consent()
  assert.equal((await page.result()).outcome, 'success')
  assert.notEqual(phone.posts[1].code, phone.posts[0].code)
  first.detach()
})

test('the texts are in the language of the phone', async () => {
  for (const [language, button, note] of [
    ['zh_CN', '手机号快捷登录', '你已拒绝授权手机号'],
    ['zh_TW', '手机号快捷登录', '你已拒绝授权手机号'],
    ['en', 'Log in with phone number', 'You did not share your phone number'],
    ['fr', 'Log in with phone number', 'You did not share your phone number'],
  ]) {
    wx.getAppBaseInfo = () => ({ language })
    render()
    await page.touch()
    assert.equal(page.button.text, button)
    assert.equal(page.button.ariaLabel, button)
    page.emit({ errMsg: 'getPhoneNumber:fail user deny' })
    await page.result()
    assert.equal(page.note, note)
    await page.ready()
    page.detach()
  }
  delete wx.getAppBaseInfo // it exists since base library 2.20.1
  render()
  await page.ready()
  assert.equal(page.button.text, '手机号快捷登录')
})

test('a detached component does nothing', async () => {
  let answer
  const held = new Promise(resolve => { answer = resolve })
  render({ url: await gateway(async (...args) => { await held; await forward(...args) }) })
  await page.consent()
  await waitFor('a post', () => phone.posts.length === 1)
  page.detach()
  answer()
  await settle()
  assert.deepEqual(page.results, [])
  assert.equal(phone.logins.length, 1)

  let online
  wx.getNetworkType = ({ success }) => { online = success }
  render()
  await page.consent()
  await waitFor('a check of the network', () => online)
  page.detach()
  online({ networkType: 'wifi' })
  await settle()
  assert.equal(phone.posts.length, 1)

  render()
  await page.ready()
  assert.equal(phone.timers.length, 1)
  page.detach()
  assert.equal(phone.timers.length, 0)

  phone.online = false
  render()
  page.detach() // while wx.login() fails
  await settle()
  assert.equal(phone.timers.length, 0)
})
