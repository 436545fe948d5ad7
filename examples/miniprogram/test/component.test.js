const assert = require('node:assert/strict')
const { after, afterEach, before, beforeEach, test } = require('node:test')
const { Phone, Shown, listen, moment, raise, send, until, written } = require('./rig')

const MINUTE = 60 * 1000

let stage, phone, shown
const ends = []
before(async () => { stage = await raise(); ends.push(stage.end) })
after(async () => { for (const end of ends.reverse()) await end() })
beforeEach(() => { phone = new Phone(stage) })
afterEach(() => {
  shown.detach()
  assert.equal(phone.timers.length, 0, 'timers outlive the component')
  assert.deepEqual(written.splice(0), [])
})

const show = properties => (shown = new Shown(phone, { url: stage.url, ...properties }))

/** gateway plays the one before the function: its answers are taken in turn, the last for good. */
async function gateway(...answers) {
  let nth = 0
  const server = await listen(async (request, response, body) => {
    const answer = answers[Math.min(nth++, answers.length - 1)]
    if (typeof answer === 'function') return answer(request, response, body)
    response.writeHead(answer.status, { 'content-type': 'application/json', ...answer.header })
    response.end(JSON.stringify(answer.data))
  })
  ends.push(server.end)
  return `${server.url}/phone`
}

/** pass lets the function answer. */
async function pass(request, response, body) {
  const answer = await send(stage.url, { method: 'POST', body })
  response.writeHead(answer.statusCode, answer.header)
  response.end(answer.text)
}

const samePosts = n => {
  assert.equal(phone.posts.length, n)
  for (const post of phone.posts) assert.deepEqual(post, phone.posts[0])
}

// The tap, and what it brings.

test('a phone code is posted with the login code from before the tap', async () => {
  show()
  await shown.consent()
  const { outcome, data } = await shown.result()
  assert.equal(outcome, 'success')
  assert.match(data.phoneNumber, /^1350000\d{4}$/)
  assert.equal(data.e164, `+86${data.phoneNumber}`)
  assert(data.openid)
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['code', 'phoneCode'])
  assert.equal(phone.posts[0].code, phone.logins[0])
  assert.equal(shown.note, 'Logged in')
})

test('sealed data is posted where WeChat gives no phone code', async () => {
  phone.shape = ''
  show()
  await shown.consent()
  const { outcome, data } = await shown.result()
  assert.equal(outcome, 'success')
  assert.match(data.phoneNumber, /^1350000\d{4}$/)
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['code', 'encryptedData', 'iv'])
})

test('the phone code is preferred to sealed data', async () => {
  show()
  await shown.touch()
  shown.hand({ errMsg: 'getPhoneNumber:ok', encryptedData: 'AAAA', iv: 'AAAA', ...phone.tap })
  assert.equal((await shown.result()).outcome, 'success')
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['code', 'phoneCode'])
})

test('the realtime button has an event of its own', async () => {
  show({ realtime: true })
  await shown.touch()
  assert.equal(shown.button.openType, 'getRealtimePhoneNumber')
  shown.hand({ errMsg: 'getRealtimePhoneNumber:ok', ...phone.tap }, 'getrealtimephonenumber')
  assert.equal((await shown.result()).outcome, 'success')
})

test('one tap is posted once, however often the button says so', async () => {
  show()
  await shown.touch()
  shown.hand({ ...phone.tap })
  shown.hand({ ...phone.tap })
  assert.equal((await shown.result()).outcome, 'success')
  await moment()
  assert.equal(phone.posts.length, 1)
  assert.equal(shown.results.length, 1)
})

test('refusal, no quota and other failures of the button are told apart, and nothing is posted', async () => {
  show()
  for (const [detail, outcome, note] of [
    [{ errMsg: 'getPhoneNumber:fail user deny' }, 'refused', /did not share/],
    [{ errMsg: 'getPhoneNumber:fail:user deny' }, 'refused', /did not share/],
    [{ errMsg: 'getPhoneNumber:fail user cancel' }, 'refused', /did not share/],
    [{ errMsg: 'getPhoneNumber:fail', errno: 1400001 }, 'no_quota', /another way/],
    [{ errMsg: 'getPhoneNumber:fail privacy permission is not authorized', errno: 104 }, 'button_failed', /gave no phone number/],
    [{}, 'button_failed', /gave no phone number/],
  ]) {
    await shown.touch()
    const before = shown.results.length
    shown.hand(detail)
    const result = await shown.result(before + 1)
    assert.equal(result.outcome, outcome)
    assert.equal(result.errMsg, detail.errMsg)
    assert.equal(result.errno, detail.errno)
    assert.match(shown.note, note)
  }
  assert.equal(shown.button.phoneNumberNoQuotaToast, false) // the note says it
  assert.equal(phone.posts.length, 0)
})

// The login code.

test('the button waits for a login code', async () => {
  show()
  assert.equal(shown.button.disabled, true)
  await shown.ready()
  assert.equal(phone.logins.length, 1)
  assert.equal(shown.button.openType, 'getPhoneNumber')
})

test('a code that nears five minutes is renewed, time and again', async () => {
  show()
  await shown.ready()
  await phone.pass(4.5 * MINUTE - 1)
  assert.equal(phone.logins.length, 1)
  await phone.pass(1)
  await until('a second login', () => phone.logins[1])
  await phone.pass(4.5 * MINUTE)
  await until('a third login', () => phone.logins[2])
  await shown.consent()
  assert.equal((await shown.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[2])
})

test('a page that comes back logs in again, and one that first appears does not', async () => {
  show()
  shown.come()
  await shown.ready()
  assert.equal(phone.logins.length, 1)
  shown.away()
  await phone.pass(20 * MINUTE)
  assert.equal(phone.logins.length, 1, 'a hidden page needs no code')
  shown.come()
  await shown.consent()
  assert.equal((await shown.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[1])
})

test('hide and show between the tap and the end of its post do not log in', async () => {
  for (phone.shape of ['phone-code', '']) {
    const before = phone.logins.length
    let answer
    const held = new Promise(resolve => { answer = resolve })
    show({ url: await gateway(async (...args) => { await held; await pass(...args) }) })
    await shown.touch()
    shown.away()
    shown.come()
    await moment()
    shown.hand({ ...phone.tap })
    await until('a post', () => phone.posts.length === 1)
    shown.away()
    shown.come()
    await moment()
    assert.equal(phone.logins.length, before + 1)
    answer()
    assert.equal((await shown.result()).outcome, 'success')
    assert.equal(phone.posts[0].code, phone.logins[before])
    await until('a login for the next tap', () => phone.logins.length === before + 2)
    shown.detach()
    phone.posts = []
  }
})

test('a callback that comes before the page is shown again is posted all the same', async () => {
  show()
  await shown.touch()
  shown.away()
  shown.hand({ ...phone.tap })
  assert.equal((await shown.result()).outcome, 'success')
  await moment()
  assert.equal(phone.logins.length, 1, 'a hidden page needs no code')
  shown.come()
  await shown.ready()
  assert.equal(phone.logins.length, 2)
  assert.equal(shown.note, 'Logged in', 'the user has not seen it yet')
  shown.away()
  shown.come()
  assert.equal(shown.note, '')
})

test('a code is not renewed under a consent that takes its time', async () => {
  show()
  await shown.touch()
  await phone.pass(5 * MINUTE - 1)
  assert.equal(phone.logins.length, 1)
  shown.hand({ ...phone.tap })
  assert.equal((await shown.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[0])
})

test('a consent after five minutes is not posted: its code has expired, and the new one is from after the tap', async () => {
  show()
  await shown.touch()
  const { tap } = phone
  await phone.pass(5 * MINUTE)
  await until('a second login', () => phone.logins[1])
  shown.hand({ ...tap })
  const { outcome, error } = await shown.result()
  assert.deepEqual([outcome, error], ['tap_again', 'no_code'])
  assert.equal(phone.posts.length, 0)
  await shown.consent()
  assert.equal((await shown.result(2)).outcome, 'success')
})

test('a phone that slept over the end of its code does not post it', async () => {
  show()
  await shown.touch()
  phone.time += 5 * MINUTE // and no timer has fired yet
  shown.hand({ ...phone.tap })
  const { outcome, error } = await shown.result()
  assert.deepEqual([outcome, error], ['tap_again', 'code_expired'])
  assert.equal(phone.posts.length, 0)
})

test('a tap whose callback never comes does not keep the code for ever', async () => {
  show()
  await shown.touch()
  shown.away()
  await phone.pass(20 * MINUTE)
  shown.come()
  await shown.consent()
  assert.equal((await shown.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[1])
})

// What the function answers.

test('a used code: log in, and tap again', async () => {
  show()
  await shown.touch()
  const tap = { ...phone.tap }
  const used = await send(stage.url, { method: 'POST', body: JSON.stringify({ code: phone.logins[0], phoneCode: tap.code }) })
  assert.equal(used.statusCode, 200)
  shown.hand(tap)
  const { outcome, error, status, message, requestId } = await shown.result()
  assert.deepEqual([outcome, error, status], ['tap_again', 'code_rejected', 400])
  assert(message && requestId)
  assert.equal(shown.note, 'That did not work. Please tap again')
  await shown.consent()
  assert.equal((await shown.result(2)).outcome, 'success')
  assert.equal(phone.posts.length, 2)
})

test('an expired code, of either kind: log in, and tap again', async () => {
  // Of a login code that expired WeChat says what it says of one that it does not know.
  show()
  await shown.touch()
  shown.hand({ code: 'expired' })
  let result = await shown.result()
  assert.deepEqual([result.outcome, result.error], ['tap_again', 'code_rejected'])
  await shown.ready()
  shown.detach()

  const { login } = wx
  wx.login = ({ success }) => setTimeout(success, 0, { code: 'expired' })
  show()
  await shown.touch()
  wx.login = login
  shown.hand({ ...phone.tap })
  result = await shown.result()
  assert.deepEqual([result.outcome, result.error], ['tap_again', 'code_rejected'])
  await shown.consent()
  assert.equal((await shown.result(2)).outcome, 'success')
})

test('sealed data that does not open: log in, and tap again', async () => {
  phone.shape = ''
  show()
  await shown.touch()
  shown.hand({ ...phone.tap, iv: Buffer.alloc(16).toString('base64') })
  const { outcome, error } = await shown.result()
  assert.deepEqual([outcome, error], ['tap_again', 'undecryptable'])
})

test('a lost answer: its codes, which are used, are not sent again', async () => {
  for (phone.shape of ['phone-code', '']) {
    let lost
    show({
      url: await gateway(async (request, response, body) => {
        lost = await send(stage.url, { method: 'POST', body })
        response.socket.destroy()
      }, pass),
    })
    await shown.consent()
    const { outcome, error } = await shown.result()
    assert.deepEqual([outcome, error], ['tap_again', 'no_answer'])
    assert.equal(lost.statusCode, 200, 'the codes are used')
    await phone.pass(MINUTE)
    assert.equal(phone.posts.length, 1)
    await shown.consent()
    assert.equal((await shown.result(2)).outcome, 'success')
    assert.equal(phone.posts.length, 2)
    const sent = phone.posts.map(post => Object.values(post)).flat()
    assert.equal(new Set(sent).size, sent.length, 'something was sent twice')
    shown.detach()
    phone.posts = []
  }
})

test('what the function says of WeChat is obeyed', async t => {
  // A second function, whose WeChat is the first's but for what is scripted.
  let script = () => null
  let asked = 0
  const proxy = await listen(async (request, response, body) => {
    if (request.url.startsWith('/sns/')) asked++
    const scripted = request.url.startsWith('/sns/') && script(asked)
    if (scripted === 'lost') return response.socket.destroy()
    if (scripted) return response.end(JSON.stringify(scripted))
    const answer = await send(stage.wechat + request.url, { method: request.method, body: body || undefined })
    response.writeHead(answer.statusCode, { 'content-type': 'text/plain' })
    response.end(answer.text)
  })
  ends.push(proxy.end)
  const second = await raise({ wechat: proxy.url })
  ends.push(second.end)
  const start = async scripted => {
    asked = 0
    script = scripted
    phone.posts = []
    show({ url: second.url })
    await shown.consent()
  }
  const end = () => shown.detach()

  await t.test('429 rate_limited: the same is sent after a minute', async () => {
    await start(nth => nth === 1 && { errcode: 45011, errmsg: 'api minute-quota reach limit' })
    await until('a wait', () => shown.note)
    assert.equal(shown.note, 'Busy. Trying again in 60 s')
    assert.equal(shown.button.disabled, true)
    await phone.pass(MINUTE - 1)
    assert.equal(phone.posts.length, 1)
    await phone.pass(1)
    assert.equal((await shown.result()).outcome, 'success')
    samePosts(2)
    end()
  })

  await t.test('429 rate_limited for good: two more, and no more', async () => {
    await start(() => ({ errcode: 45011, errmsg: 'api minute-quota reach limit' }))
    for (let n = 1; n <= 2; n++) {
      await until('a wait', () => shown.note)
      await phone.pass(MINUTE)
      await until('a post', () => phone.posts.length === n + 1)
      await until('its answer', () => shown.note)
    }
    const { outcome, error, status } = await shown.result()
    assert.deepEqual([outcome, error, status], ['later', 'rate_limited', 429])
    samePosts(3)
    end()
  })

  await t.test('503 unavailable: the same is sent until WeChat is back', async () => {
    // The function itself asks a busy WeChat up to three times.
    await start(nth => nth <= 3 && { errcode: -1, errmsg: 'system error' })
    await until('a wait', () => shown.note)
    assert.equal(shown.note, 'Busy. Trying again in 1 s')
    await phone.pass(1000)
    assert.equal((await shown.result()).outcome, 'success')
    samePosts(2)
    end()
  })

  await t.test('503 unavailable for good: three more, and no more', async () => {
    await start(() => ({ errcode: -1, errmsg: 'system error' }))
    for (const [n, ms] of [1000, 2000, 4000].entries()) {
      await until('a wait', () => shown.note)
      await phone.pass(ms - 1)
      assert.equal(phone.posts.length, n + 1)
      await phone.pass(1)
      await until('a post', () => phone.posts.length === n + 2)
    }
    const { outcome, error, status } = await shown.result()
    assert.deepEqual([outcome, error, status], ['later', 'unavailable', 503])
    samePosts(4)
    end()
  })

  await t.test('502 upstream_error: the code may be used', async () => {
    await start(nth => nth === 1 && 'lost')
    const { outcome, error, status } = await shown.result()
    assert.deepEqual([outcome, error, status], ['tap_again', 'upstream_error', 502])
    await shown.consent()
    assert.equal((await shown.result(2)).outcome, 'success')
    assert.notEqual(phone.posts[0].code, phone.posts[1].code)
    end()
  })

  await t.test('403 user_blocked: nothing to be done, until the page comes back', async () => {
    await start(nth => nth === 1 && { errcode: 40226, errmsg: 'code blocked' })
    const { outcome, error, status, requestId } = await shown.result()
    assert.deepEqual([outcome, error, status], ['failed', 'user_blocked', 403])
    assert.equal(shown.note, `Login failed. Please contact support ${requestId}`)
    await phone.pass(MINUTE)
    assert.equal(shown.button.disabled, true)
    shown.away()
    shown.come()
    await shown.consent()
    assert.equal((await shown.result(2)).outcome, 'success')
    end()
  })
})

// What the gateway answers, without the function.

test('429 of the gateway: the same is sent, twice at most', async () => {
  show({ url: await gateway({ status: 429, data: { message: 'Too Many Requests' } }) })
  await shown.consent()
  await until('a wait', () => shown.note === 'Busy. Trying again in 5 s')
  await phone.pass(5000)
  await until('a longer one', () => shown.note === 'Busy. Trying again in 15 s')
  await phone.pass(15000)
  const { outcome, error, status } = await shown.result()
  assert.deepEqual([outcome, error, status], ['later', undefined, 429])
  samePosts(3)
  await phone.pass(MINUTE)
  assert.equal(phone.posts.length, 3)
})

test('429 of the gateway, then the function: retry-after is honoured', async () => {
  show({ url: await gateway({ status: 429, header: { 'Retry-After': '9' }, data: { message: 'Too Many Requests' } }, pass) })
  await shown.consent()
  await until('a wait', () => shown.note === 'Busy. Trying again in 9 s')
  await shown.touch(true) // which the view was late to forbid
  await moment()
  await phone.pass(8999)
  assert.equal(phone.posts.length, 1)
  await phone.pass(1)
  assert.equal((await shown.result()).outcome, 'success')
  samePosts(2)
})

test('a wait that would outlive the code is none', async () => {
  show({ url: await gateway({ status: 429, header: { 'retry-after': '300' }, data: {} }) })
  await shown.consent()
  assert.equal((await shown.result()).outcome, 'later')
  assert.equal(phone.posts.length, 1)
})

test('a phone that sleeps through a wait does not send a code that expired', async () => {
  show({ url: await gateway({ status: 429, data: {} }) })
  await shown.consent()
  await until('a wait', () => shown.note)
  phone.time += 10 * MINUTE
  await phone.pass(0)
  const { outcome, error } = await shown.result()
  assert.deepEqual([outcome, error], ['tap_again', 'code_expired'])
  assert.equal(phone.posts.length, 1)
})

test('5xx of the gateway: the code may be used', async () => {
  for (const status of [500, 503]) {
    show({ url: await gateway({ status, data: { message: 'Internal Server Error' } }, pass) })
    await shown.consent()
    const result = await shown.result()
    assert.deepEqual([result.outcome, result.error, result.status], ['tap_again', undefined, status])
    await phone.pass(MINUTE)
    assert.equal(phone.posts.length, 1)
    await shown.consent()
    assert.equal((await shown.result(2)).outcome, 'success')
    assert.notEqual(phone.posts[0].code, phone.posts[1].code)
    shown.detach()
    phone.posts = []
  }
})

test('4xx of the gateway: the program is wrong, and no tap is asked for', async () => {
  show({ url: stage.url.replace('/phone', '/other') })
  await shown.consent()
  const { outcome, status } = await shown.result()
  assert.deepEqual([outcome, status], ['failed', 404])
  await moment()
  assert.equal(shown.button.disabled, true)
  assert.equal(shown.note, 'Login failed. Please contact support')
})

// Without a network.

test('what was not sent for want of a network is sent when there is one', async () => {
  show()
  await shown.touch()
  phone.online = false
  shown.hand({ ...phone.tap })
  await until('a wait', () => shown.note)
  assert.equal(phone.posts.length, 0)
  phone.online = true
  await phone.pass(1000)
  assert.equal((await shown.result()).outcome, 'success')
  assert.equal(phone.posts[0].code, phone.logins[0])
})

test('without a network for long, the tap ends', async () => {
  show()
  await shown.touch()
  phone.online = false
  shown.hand({ ...phone.tap })
  for (const ms of [1000, 2000, 4000]) {
    await until('a wait', () => shown.note)
    await phone.pass(ms)
  }
  const { outcome, error } = await shown.result()
  assert.deepEqual([outcome, error], ['later', 'offline'])
  assert.equal(phone.posts.length, 0)
})

test('a connection that fails is a lost answer: what was sent is not known', async () => {
  show({ url: 'http://127.0.0.1:1/phone' })
  await shown.consent()
  const { outcome, error } = await shown.result()
  assert.deepEqual([outcome, error], ['tap_again', 'no_answer'])
})

test('without a login code there is a button to try again', async () => {
  phone.online = false
  show()
  for (const ms of [1000, 2000, 4000]) {
    await until('a pause', () => phone.timers.length)
    assert.equal(shown.button.disabled, true)
    await phone.pass(ms)
  }
  await shown.ready()
  assert.equal(phone.logins.length, 4)
  assert.equal(shown.button.text, 'Try again')
  assert.equal(shown.button.openType, '')
  assert.match(shown.note, /check the network/)
  await phone.pass(MINUTE)
  assert.equal(phone.logins.length, 4, 'wx.login() is bounded')
  phone.online = true
  await shown.touch()
  await until('a login', () => shown.button.openType === 'getPhoneNumber')
  assert.equal(shown.note, '')
  await shown.consent()
  assert.equal((await shown.result()).outcome, 'success')
})

// On the page.

test('it speaks the language of the phone', async () => {
  for (const [language, button, note] of [
    ['zh_CN', '手机号快捷登录', '您没有授权手机号'], ['zh_TW', '手机号快捷登录', '您没有授权手机号'],
    ['en', 'Log in with phone number', 'You did not share your phone number'], ['fr', 'Log in with phone number', 'You did not share your phone number'],
  ]) {
    wx.getAppBaseInfo = () => ({ language })
    show()
    await shown.touch()
    assert.equal(shown.button.text, button)
    assert.equal(shown.button.ariaLabel, button)
    shown.hand({ errMsg: 'getPhoneNumber:fail user deny' })
    await shown.result()
    assert.equal(shown.note, note)
    await shown.ready()
    shown.detach()
  }
  delete wx.getAppBaseInfo // which came with base library 2.20.1
  show()
  await shown.ready()
  assert.equal(shown.button.text, '手机号快捷登录')
})

test('a component that was taken away does nothing more', async () => {
  let answer
  const held = new Promise(resolve => { answer = resolve })
  show({ url: await gateway(async (...args) => { await held; await pass(...args) }) })
  await shown.consent()
  await until('a post', () => phone.posts.length === 1)
  shown.detach()
  answer()
  await moment()
  assert.deepEqual(shown.results, [])
  assert.equal(phone.logins.length, 1)

  let online
  wx.getNetworkType = ({ success }) => { online = success }
  show()
  await shown.consent()
  await until('a look at the network', () => online)
  shown.detach()
  online({ networkType: 'wifi' })
  await moment()
  assert.equal(phone.posts.length, 1)

  show()
  await shown.ready()
  assert.equal(phone.timers.length, 1)
  shown.detach()
  assert.equal(phone.timers.length, 0)
})
