// Runs the short page of docs/api.md on the stage, where each wx.login()
// changes the session key.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, afterEach, before, test } = require('node:test')
const { Phone, consoleCalls, root, startStage, waitFor, wechat } = require('./rig')

const MINUTE = 60 * 1000

let stage
before(async () => { stage = await startStage() })
after(() => stage.close())
afterEach(() => assert.deepEqual(consoleCalls.splice(0), []))

/** open opens a document's page on a phone. */
function open(readme, phone) {
  const text = fs.readFileSync(path.join(root, '../..', readme), 'utf8')
  const [, code] = /```js\n(Page\(\{[^]*?)```/.exec(text)
  const [, tap] = /bindtap="(\w+)"/.exec(text)
  let page
  new Function('Page', 'wx', 'setTimeout', 'clearTimeout', code)(definition => { page = { data: {}, ...definition } }, {
    ...wx,
    request: options => wx.request({ ...options, url: stage.url }),
  }, (f, ms) => wechat.schedule(ms, f), cancel => cancel && cancel())
  page.setData = values => Object.assign(page.data, values)
  const event = name => { if (page[name]) page[name]() }
  page.tap = page[tap]
  event('onLoad')
  event('onShow')
  return { page, event }
}

/** failure waits until the phone has reported that wx.login() failed. */
const failure = () => new Promise(done => setTimeout(done, 1))

for (const readme of ['docs/api.md', 'docs/api.zh-CN.md']) {
  for (const shape of ['phone-code', '']) {
    const name = `${readme}: ${shape || 'sealed data'} is posted with the newest code, however the page hides and shows`
    test(name, async () => {
      const phone = new Phone(stage)
      phone.shape = shape
      const { page, event } = open(readme, phone)
      await waitFor('a code', () => page.code)
      for (let tap = 1; tap <= 2; tap++) {
        const answers = []
        const { request } = wx
        wx.request = options => request({
          ...options, success: answer => { answers.push(answer); options.success(answer) },
        })
        page.tap()
        event('onHide')
        await phone.advance(5 * MINUTE - 1) // while the user is asked for consent
        event('onShow')
        page.onPhone({ detail: { errMsg: 'getPhoneNumber:ok', ...phone.tap } })
        event('onHide')
        event('onShow')
        await phone.advance(5 * MINUTE)
        assert.equal(phone.logins.length, tap, 'calls of wx.login() before the answer')
        await waitFor('an answer', () => answers.length === 1)
        wx.request = request
        assert.equal(answers[0].statusCode, 200)
        assert.equal(phone.posts[tap - 1].code, phone.logins[tap - 1])
        await waitFor('a code for the next tap', () => page.code === phone.logins[tap])
      }
    })
  }

  test(`${readme}: a refusal posts nothing, and a code that may be used is replaced`, async () => {
    const phone = new Phone(stage)
    const { page } = open(readme, phone)
    await waitFor('a code', () => page.code)
    page.tap()
    page.onPhone({ detail: { errMsg: 'getPhoneNumber:fail user deny' } })
    await waitFor('a code', () => page.code === phone.logins[1])
    assert.equal(phone.posts.length, 0)
    phone.requestFailure = { errMsg: 'request:fail timeout' }
    page.onPhone({ detail: { ...phone.tap } })
    await waitFor('another code', () => page.code === phone.logins[2])
    phone.requestFailure = null
    page.onPhone({ detail: { ...phone.tap, code: 'expired' } }) // refused
    await waitFor('another code', () => page.code === phone.logins[3])
  })

  test(`${readme}: the button is disabled until there is a code, and wx.login() is called again after a failure`, async () => {
    const phone = new Phone(stage)
    phone.loginFailure = { errMsg: 'login:fail' }
    const { page, event } = open(readme, phone)
    await failure()
    assert.equal(page.data.ready, false)
    phone.loginFailure = null
    await phone.advance(5 * 1000)
    await waitFor('a code', () => page.data.ready)
    assert.equal(page.code, phone.logins.at(-1))
    phone.loginFailure = { errMsg: 'login:fail' }
    page.login()
    event('onUnload')
    await failure()
    assert.equal(phone.timers.length, 0, 'timers left')
  })

  test(`${readme}: a code is replaced before it expires, also after a refusal, until the page is closed`, async () => {
    const phone = new Phone(stage)
    const { page, event } = open(readme, phone)
    await waitFor('a code', () => page.code)
    for (const logins of [2, 3]) {
      await phone.advance(5 * MINUTE - 1)
      assert.equal(phone.logins.length, logins, 'calls of wx.login()')
      await waitFor('a newer code', () => page.code === phone.logins[logins - 1])
    }
    page.tap()
    page.onPhone({ detail: { errMsg: 'getPhoneNumber:fail user deny' } })
    await phone.advance(5 * MINUTE - 1)
    assert.equal(phone.logins.length, 5, 'calls of wx.login() after a refusal')
    event('onUnload')
    assert.equal(phone.timers.length, 0, 'timers left')
  })
}
