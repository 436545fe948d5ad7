const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, test } = require('node:test')
const { Phone, raise, root, simulate, until, written } = require('./rig')

const config = require('../config')

let stage
before(async () => { stage = await raise() })
after(() => stage.end())

// A page as WeChat makes one of it, for what renders components.
global.Page = ({ data, ...methods }) => global.Component({ data, methods })

test('config.js is that of make start', () => {
  const makefile = fs.readFileSync(path.join(root, '../../Makefile'), 'utf8')
  const [, port] = /stage -bootstrap .* -port (\d+) -route/.exec(makefile)
  assert.equal(config.url, `http://127.0.0.1:${port}/phone`)
  assert.equal(config.stage, `http://127.0.0.1:${Number(port) + 1}/tap?shape=phone-code`)
})

test('in the mode stage a tap shows a phone number, in both shapes', async () => {
  for (const query of ['?shape=phone-code', '']) {
    const phone = new Phone(stage)
    Object.assign(config, { url: stage.url, stage: `${stage.wechat}/tap${query}` })
    const page = simulate.render(simulate.load(path.join(root, 'pages/index/index'), 'page', { rootPath: root }))
    page.attach(document.body)
    const button = page.querySelector('#login').querySelector('.button')
    const attribute = name => button.toJSON().attrs.filter(attr => attr.name === name)[0].value
    await until('a button that can be tapped', () => !attribute('disabled'))
    assert.equal(attribute('openType'), '', 'the developer tools have no phone button for test accounts')
    button.dispatchEvent('touchstart')
    button.dispatchEvent('touchend')
    await until('a result', () => page.data.outcome)
    assert.equal(page.data.outcome, 'success')
    assert.match(page.dom.textContent, /success1350000\d{4}/)
    assert.equal(phone.logins.length, 0, 'wx.login() is not called')
    assert.equal(phone.posts.length, 1)
    page.detach()
  }
  assert.deepEqual(written, [])
})
