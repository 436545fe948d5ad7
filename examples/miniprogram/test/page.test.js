const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, test } = require('node:test')
const { Phone, consoleCalls, root, simulate, startStage, waitFor } = require('./rig')

const config = require('../config')

let stage
before(async () => { stage = await startStage() })
after(() => stage.close())

// miniprogram-simulate renders components, so the page becomes one.
global.Page = ({ data, ...methods }) => global.Component({ data, methods })

test('config.js has the ports of make start', () => {
  const makefile = fs.readFileSync(path.join(root, '../../Makefile'), 'utf8')
  const [, port] = /stage -bootstrap .* -port (\d+) -route/.exec(makefile)
  assert.equal(config.url, `http://127.0.0.1:${port}/phone`)
  assert.equal(config.stage, `http://127.0.0.1:${Number(port) + 1}/tap?shape=phone-code`)
})

test('in stage mode a tap shows a phone number, from a phone code and from sealed data', async () => {
  for (const query of ['?shape=phone-code', '']) {
    const phone = new Phone(stage)
    Object.assign(config, { url: stage.url, stage: `${stage.wechat}/tap${query}` })
    const page = simulate.render(simulate.load(path.join(root, 'pages/index/index'), 'page', { rootPath: root }))
    page.attach(document.body)
    const button = page.querySelector('#login').querySelector('.button')
    const attribute = name => button.toJSON().attrs.filter(attr => attr.name === name)[0].value
    await waitFor('the button to be enabled', () => !attribute('disabled'))
    assert.equal(attribute('openType'), '', 'test accounts have no phone button in the developer tools')
    button.dispatchEvent('touchstart')
    button.dispatchEvent('touchend')
    await waitFor('a result', () => page.data.outcome)
    assert.equal(page.data.outcome, 'success')
    assert.match(page.dom.textContent, /success1350000\d{4}/)
    assert.equal(phone.logins.length, 0, 'calls of wx.login()')
    assert.equal(phone.posts.length, 1)
    page.detach()
  }
  assert.deepEqual(consoleCalls, [])
})
