const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, before, test } = require('node:test')
const { Phone, consoleCalls, root, session, settle, simulate, startStage, waitFor } = require('./rig')

const DAY = 24 * 60 * 60 * 1000
const config = require('../config')

let stage
before(async () => { stage = await startStage() })
after(() => stage.close())

// miniprogram-simulate renders components, so the page becomes one.
global.Page = ({ data, stop, onLoad, onUnload, ...methods }) => global.Component({
  data, methods, lifetimes: { attached: onLoad, detached: onUnload },
})
let app
global.App = definition => { app = definition }

/** visit starts the mini-program and returns its first page. */
async function visit(phone) {
  phone.launch()
  delete require.cache[require.resolve('../app')]
  require('../app')
  app.onLaunch()
  app.onShow()
  const page = simulate.render(simulate.load(path.join(root, 'pages/index/index'), 'page', { rootPath: root }))
  page.attach(document.body)
  await waitFor('the user', () => page.data.user.status !== 'asking')
  return page
}

/** touch touches the first button that a selector finds. */
async function touch(page, find) {
  await waitFor('a button', find)
  const button = find()
  const attribute = name => button.toJSON().attrs.filter(attr => attr.name === name)[0]
  await waitFor('the button to be enabled', () => !attribute('disabled') || !attribute('disabled').value)
  button.dispatchEvent('touchstart')
  button.dispatchEvent('touchend')
  await settle()
  return attribute
}

const loginButton = page => () => page.querySelector('#login') && page.querySelector('#login').querySelector('.button')

test('config.js has the ports of make start', () => {
  const makefile = fs.readFileSync(path.join(root, '../../Makefile'), 'utf8')
  const [, port] = /^PORT += (\d+)$/m.exec(makefile)
  const text = fs.readFileSync(path.join(root, 'config.js'), 'utf8')
  const module = { exports: {} }
  new Function('module', text.replace(/const mode = '\w+'/, "const mode = 'stage'"))(module) // an owner's may be real
  assert.deepEqual(module.exports, {
    url: `http://127.0.0.1:${port}/phone`,
    loginUrl: `http://127.0.0.1:${port}/login`,
    stage: `http://127.0.0.1:${Number(port) + 1}/tap?shape=phone-code`,
  })
})

test('in stage mode the first visit needs a tap, and the second shows who the user is', async () => {
  const phone = new Phone(stage)
  Object.assign(config, { url: stage.url, loginUrl: stage.loginUrl, stage: `${stage.wechat}/tap?shape=phone-code` })
  const first = await visit(phone)
  assert.match(first.dom.textContent, /tap new/)
  const attribute = await touch(first, loginButton(first))
  assert.equal(attribute('openType').value, '', 'test accounts have no phone button in the developer tools')
  await waitFor('the user', () => first.data.user.status === 'known')
  const { e164, openid } = first.data.user
  assert.match(e164, /^\+861350000\d{4}$/)
  assert(first.dom.textContent.includes(e164))
  assert(first.dom.textContent.includes('success'))
  assert.equal(loginButton(first)(), undefined, 'the login button after a login')
  first.detach()
  assert.equal(session.watchers.length, 0, 'watchers after the page is closed')

  await phone.jump(DAY)
  const second = await visit(phone)
  assert.deepEqual([second.data.user.status, second.data.user.openid], ['known', openid])
  assert(second.dom.textContent.includes(e164))
  assert.equal(loginButton(second)(), undefined, 'the login button on the second visit')
  assert.equal(phone.posts.length, 1, 'taps')
  assert.equal(phone.logins.length, 0, 'calls of wx.login()')

  await touch(second, () => second.querySelector('.log-out'))
  await waitFor('the login button', loginButton(second))
  await touch(second, loginButton(second))
  await waitFor('the user', () => second.data.user.status === 'known')
  assert.equal(second.data.user.openid, openid)
  second.detach()
  assert.deepEqual(consoleCalls, [])
})

test('in stage mode sealed data works too, with the appid that the stage gave', async () => {
  const phone = new Phone(stage)
  config.stage = `${stage.wechat}/tap?appid=wx2222222222222222`
  const page = await visit(phone)
  await touch(page, loginButton(page))
  await waitFor('the result', () => page.data.outcome)
  assert.equal(page.data.outcome, 'success')
  assert.deepEqual(Object.keys(phone.posts[0]).sort(), ['appid', 'code', 'encryptedData', 'iv'])
  for (const { appid } of [...phone.renewals, ...phone.posts]) assert.equal(appid, 'wx2222222222222222')
  page.detach()
  assert.deepEqual(consoleCalls, [])
})

test('in real mode the page uses WeChat\'s own login and button', async () => {
  const phone = new Phone(stage)
  config.stage = ''
  const page = await visit(phone)
  const attribute = await touch(page, loginButton(page))
  assert.equal(attribute('openType').value, 'getPhoneNumber')
  loginButton(page)().dispatchEvent('getphonenumber', { detail: { ...phone.tap } })
  await waitFor('the user', () => page.data.user.status === 'known')
  page.detach()
  assert.deepEqual(consoleCalls, [])
})
