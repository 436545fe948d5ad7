// Taps the stage's page in Chromium. With UPDATE=1 it writes the screenshots and texts in docs/images.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import readline from 'node:readline'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { texts } from '../stage/texts.mjs'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const images = path.join(root, 'docs/images')
const built = path.join(root, 'build/local') // make test-stage builds it
const executablePath = process.env.PATH.split(':').map(folder => path.join(folder, 'chromium')).find(fs.existsSync)
const routes = ['POST /phone', 'POST /login', 'GET /.well-known/openid-configuration', 'GET /.well-known/jwks.json']

let stage, url, browser

before(async () => {
  const flags = routes.flatMap(route => ['-route', route])
  stage = spawn(path.join(built, 'stage'), ['-bootstrap', path.join(built, 'bootstrap'), ...flags])
  for await (const line of readline.createInterface(stage.stdout)) {
    url = url || (/^in a browser +(\S+)/.exec(line) || [])[1]
    if (/Ctrl-C/.test(line)) break
  }
  assert(url, 'the stage prints no address of its page')
  browser = await chromium.launch({ executablePath, chromiumSandbox: process.getuid() !== 0 }) // root cannot have one
})

after(async () => {
  if (browser) await browser.close()
  stage.kill()
})

/** View is the page in a new window. */
class View {
  static async open(options = {}) {
    const view = new View()
    const { locale = 'en-US', viewport = { width: 1280, height: 810 } } = options
    view.locale = locale
    view.page = await browser.newPage({ locale, viewport, reducedMotion: 'reduce' })
    view.problems = []
    view.page.on('pageerror', error => view.problems.push(error.message))
    view.page.on('console', message => {
      const text = message.text()
      if (message.type() === 'error' && !/Failed to load resource/.test(text)) view.problems.push(text)
    })
    view.page.on('request', request => {
      if (new URL(request.url()).origin !== new URL(url).origin) view.problems.push(`asked ${request.url()}`)
    })
    await view.page.goto(url)
    await view.ready()
    return view
  }

  async close() {
    assert.deepEqual(this.problems, [])
    await this.page.close()
  }

  $(selector) { return this.page.locator(selector) }

  text(selector) { return this.$(selector).innerText() }

  ready() { return this.$('#login[aria-disabled=false]').waitFor() }

  get language() { return this.locale.slice(0, 2) }

  async inject(fault) {
    await this.$(`input[value=${fault}]`).check()
    await this.reads('#expected p', texts[this.language].faults[fault][1])
  }

  /** reads waits until an element has a text. */
  reads(selector, hasText) { return this.$(selector).filter({ hasText }).waitFor() }

  /** tap taps the button and agrees. */
  async tap() {
    await this.ready()
    await this.$('#login').click()
    await this.$('#allow').click()
  }

  /** outcome waits for the answer, and for what the user reads then. */
  async outcome(verdict, note) {
    await this.reads('#verdict', verdict)
    await this.reads('#note', note)
  }
}

const LOGIN_AGAIN = 'Login did not work. Please tap again'
const FAILED = /^Login failed. Please contact support [0-9a-f-]{36}$/
const outcomes = {
  none: ['200 OK', 'Logged in'],
  slow: ['200 OK', 'Logged in'],
  rotated: ['200 OK', 'Logged in'],
  token: ['200 OK', 'Logged in'],
  frozen: ['200 OK', 'Logged in'],
  busy: ['503 unavailable → retry', /^Busy. Trying again in \d s$/],
  down: ['503 unavailable → retry', /^Busy. Trying again in \d s$/],
  hangup: ['502 upstream_error → login', LOGIN_AGAIN],
  used: ['400 code_rejected → login', LOGIN_AGAIN],
  expired: ['400 code_rejected → login', LOGIN_AGAIN],
  foreign: ['400 code_rejected → login', LOGIN_AGAIN],
  wrong: ['500 misconfigured → none', FAILED],
  missing: ['500 misconfigured → none', FAILED],
  whitelist: ['500 misconfigured → none', FAILED],
  quota: ['503 quota_exhausted → none', FAILED],
  key: ['500 misconfigured → none', FAILED],
}

const APPS = ['wx0000000000000000', 'wx2222222222222222', 'wx3333333333333333']

test('each fault, injected and tapped', async () => {
  const view = await View.open()
  const names = await view.$('[name=fault]').evaluateAll(radios => radios.map(radio => radio.value))
  assert.deepEqual(names.sort(), Object.keys(outcomes).sort())
  for (const [fault, [verdict, note]] of Object.entries(outcomes)) {
    await view.$('#fresh').click()
    await view.ready()
    await view.inject(fault)
    await view.tap()
    await view.outcome(verdict, note)
    assert.equal(await view.$('#runbook').isVisible(), fault !== 'none', `${fault}: the runbook`)
    if (fault === 'foreign') assert.match(await view.text('#answer'), /the Referer names a different mini-program/)
    if (verdict.endsWith('retry')) { // it ends while the page waits
      await view.inject('none')
      await view.outcome('200 OK', 'Logged in')
    }
    await view.inject('none')
  }
  await view.close()
})

test('the page may talk to its own origin only', async () => {
  const { headers } = await fetch(url)
  const policy = headers.get('content-security-policy').split(/; ?/)
  assert(policy.includes("default-src 'none'") && policy.includes("script-src 'self'"), policy)
  assert.deepEqual(policy.filter(rule => !/^[a-z]+(-[a-z]+)* '(none|self)'$/.test(rule)), [])
})

test('each tap meets the fault', async () => {
  const view = await View.open()
  await view.inject('rotated')
  for (let tap = 1; tap <= 2; tap++) {
    await view.$('#fresh').click()
    await view.tap()
    await view.outcome('200 OK', 'Logged in')
    assert.match(await view.text('#calls'), /40125 invalid appsecret/)
  }
  await view.close()
})

test('two taps at once are one', async () => {
  const view = await View.open()
  const twice = () => view.page.evaluate(() => {
    for (const id of ['login', 'allow', 'login', 'allow']) document.getElementById(id).click()
  })
  let answers = 0 // to WeChat's question
  view.page.on('request', request => { if (request.url().includes('/tap?')) answers++ })
  await twice()
  await view.outcome('200 OK', 'Logged in')
  assert.equal(answers, 1)
  assert.equal(await view.$('#sheet').isVisible(), false)
  await view.inject('rotated')
  for (let tap = 1; tap <= 2; tap++) { // the second must inject the fault anew
    await view.$('#fresh').click()
    await view.ready()
    await twice()
    await view.outcome('200 OK', 'Logged in')
  }
  await view.$('#fresh').click()
  await view.ready()
  await view.page.evaluate(() => { // another fault, before the first is injected anew
    document.getElementById('login').click()
    document.getElementById('allow').click()
    document.querySelector('[value=none]').click()
  })
  await view.outcome('200 OK', 'Logged in')
  await view.close()
})

test('a visit meets the fault', async () => {
  const view = await View.open()
  await view.inject('used')
  await view.$('#fresh').click()
  await view.reads('#verdict', '400 code_rejected → login')
  assert.equal(await view.text('#action'), texts.en.actions.again)
  await view.close()
})

test('without an answer, and without the server', async () => {
  const view = await View.open()
  await view.page.route(/stage.phone\?/, route => route.abort())
  await view.tap()
  await view.outcome('no_answer → login', LOGIN_AGAIN)
  let streams = 0
  await view.page.route('**/stage/events', route => streams++ ? route.continue()
    : route.fulfill({ contentType: 'text/event-stream', body: 'retry: 1000\n\n' })) // and it ends
  await view.page.reload()
  await view.reads('#expected p', texts.en.gone)
  await view.ready()
  await view.reads('#expected p', texts.en.faults.none[1])
  await view.close()
})

test('calls from elsewhere', async () => {
  const view = await View.open()
  const label = view.$('#calls .label').filter({ hasText: 'POST /phone' })
  await fetch(`${url}/stage/phone`, { method: 'POST', body: '{"code' })
  assert.match(await label.innerText(), /\{"code$/)
  for (let i = 0; i < 110; i++) await fetch(`${url}/tap`)
  await label.waitFor({ state: 'detached' }) // only the last arrows are left
  assert(await view.$('#calls li').count() <= 200)
  await view.close()
})

test('each mini-program and both shapes', async () => {
  const view = await View.open()
  for (const shape of ['sealed', 'phone-code']) {
    await view.$(`[value=${shape}]`).check()
    for (const appid of APPS) {
      await view.$(`[value=${appid}]`).check()
      await view.reads('#expected p', texts.en.faults[appid === APPS[2] ? 'wrong' : 'none'][1])
      await view.$('#fresh').click()
      await view.tap()
      await view.outcome(...appid === APPS[2] ? ['500 misconfigured → none', FAILED] : ['200 OK', 'Logged in'])
      const calls = await view.text('#calls')
      assert.equal(/getuserphonenumber/.test(calls), shape === 'phone-code' && appid !== APPS[2], calls)
    }
  }
  await view.close()
})

test('a visit, the next one, and the backend', async () => {
  const view = await View.open()
  const call = async (route, status) => {
    await view.$(`[data-route="${route}"]`).click()
    await view.reads('#backend', status)
    return view.text('#backend')
  }
  await view.reads('#action', texts.en.actions.silent)
  assert.match(await call('/me', '200'), /"user":"wx0{16}\/o/)
  assert.match(await call('/orders', '403'), /must have one of the route's scopes/)
  await view.tap()
  await view.outcome('200 OK', 'Logged in')
  const number = await view.text('#app .number')
  assert.match(await call('/orders', '200'), new RegExp(`"phone":"\\${number}"`))
  await view.$('#again').click()
  await view.reads('#action', texts.en.actions.renewed)
  assert.equal(await view.text('#app .number'), number)
  await view.$('#app button').click() // log out
  await view.ready()
  assert.equal(await view.$('#token').isVisible(), false)
  await view.close()
})

test('with the keyboard alone', async () => {
  const view = await View.open()
  const { keyboard } = view.page
  await view.$('[name=fault]:checked').focus()
  await keyboard.press('ArrowDown')
  await view.reads('#expected p', texts.en.faults.busy[1])
  await keyboard.press('ArrowUp')
  await view.reads('#expected p', texts.en.faults.none[1])
  for (let i = 0; await view.$('#login:focus').count() === 0; i++) {
    assert(i < 10, 'Tab does not reach the button')
    await keyboard.press('Tab')
  }
  await keyboard.press('Enter')
  await keyboard.press('Escape')
  await view.reads('#note', 'You did not share your phone number')
  await view.ready()
  await keyboard.press('Enter')
  await keyboard.press('Enter')
  await view.outcome('200 OK', 'Logged in')
  await view.close()
})

test('fits a phone, in both languages', async () => {
  for (const locale of ['en-US', 'zh-CN']) {
    const view = await View.open({ viewport: { width: 320, height: 740 }, locale })
    await view.tap()
    await view.reads('#action', texts[view.language].actions.success)
    const wide = all => all.filter(node => node.scrollWidth > node.clientWidth).map(node => node.textContent)
    assert.deepEqual(await view.$('html, #lanes span').evaluateAll(wide), [])
    assert((await view.$('td').first().boundingBox()).width > 100)
    assert.equal(await view.$('html').getAttribute('lang'), view.language)
    await view.$('#language').click()
    assert.notEqual(await view.$('html').getAttribute('lang'), view.language)
    await view.close()
  }
})

/** settle replaces what differs from one run to the next. */
const settle = text => text
  .replace(/\d+(\.\d+)? ms/g, 'N ms').replace(/Ms\\": [\d.]+/g, 'Ms\\": N')
  .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'UUID').replace(/[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{8}/g, 'RID')
  .replace(/o[0-9a-f]{26}x/g, 'OPENID').replace(/1350000\d{4}/g, 'NUMBER').replace(/127\.0\.0\.1:\d+/g, 'HOST')
  .replace(/eyJ[\w-]*….eyJ[\w-]*….[\w-]*…/g, 'TOKEN').replace(/[\w-]{43}/g, 'KID')
  .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME').replace(/[\d/]+,? [\d:]+( [AP]M)?/g, 'TIME')

const scenes = {
  success: async view => {
    await view.tap()
    await view.outcome('200 OK', /Logged in|登录成功/)
  },
  'used-code': async view => {
    await view.inject('used')
    await view.tap()
    await view.outcome('400 code_rejected → login', /./)
    await view.ready()
  },
  returning: async view => {
    await view.tap()
    await view.outcome('200 OK', /Logged in|登录成功/)
    await view.$('#again').click()
    await view.reads('#action', texts[view.language].actions.renewed)
  },
}

for (const [scene, play] of Object.entries(scenes)) {
  for (const [locale, name] of [['en-US', `stage-${scene}`], ['zh-CN', `stage-${scene}.zh-CN`]]) {
    test(`the screenshot ${name}.png and its text`, async () => {
      const view = await View.open({ locale })
      await play(view)
      await view.reads('#log', 'requestId')
      await view.page.mouse.move(0, 0)
      const text = settle(await view.$('main').ariaSnapshot()) + '\n'
      const file = path.join(images, `${name}.txt`)
      if (process.env.UPDATE) {
        fs.mkdirSync(images, { recursive: true })
        fs.writeFileSync(file, text)
        await view.page.screenshot({ path: path.join(images, `${name}.png`) })
      }
      assert.equal(text, fs.readFileSync(file, 'utf8')) // if the page is right: make test-stage UPDATE=1
      assert(fs.existsSync(path.join(images, `${name}.png`)))
      await view.close()
    })
  }
}
