// Runs the short page of docs/api.md on the stage, where each wx.login()
// changes the session key.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, afterEach, before, test } = require('node:test')
const { Phone, consoleCalls, root, startStage, waitFor } = require('./rig')

let stage
before(async () => { stage = await startStage() })
after(() => stage.close())
afterEach(() => assert.deepEqual(consoleCalls.splice(0), []))

/** open opens a document's page on a phone. */
function open(readme, phone) {
  const text = fs.readFileSync(path.join(root, '../..', readme), 'utf8')
  const [, code] = /```js\n(Page\(\{[^]*?)```/.exec(text)
  let page
  new Function('Page', 'wx', code)(definition => { page = definition }, {
    ...wx,
    request: options => wx.request({ ...options, url: stage.url }),
  })
  const event = name => { if (page[name]) page[name]() }
  event('onLoad')
  event('onShow')
  return { page, event }
}

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
        event('onHide')
        event('onShow')
        page.onPhone({ detail: { errMsg: 'getPhoneNumber:ok', ...phone.tap } })
        event('onHide')
        event('onShow')
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
    page.onPhone({ detail: { errMsg: 'getPhoneNumber:fail user deny' } })
    assert.deepEqual([phone.posts.length, phone.logins.length], [0, 1])
    phone.requestFailure = { errMsg: 'request:fail timeout' }
    page.onPhone({ detail: { ...phone.tap } })
    await waitFor('another code', () => page.code === phone.logins[1])
    phone.requestFailure = null
    page.onPhone({ detail: { ...phone.tap, code: 'expired' } }) // refused
    await waitFor('another code', () => page.code === phone.logins[2])
  })
}
