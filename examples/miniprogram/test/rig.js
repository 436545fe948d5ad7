// The test rig: the stage with the function's real bootstrap, a phone, and the
// rendered component. Only what WeChat alone can provide is mocked.

const assert = require('node:assert/strict')
const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const readline = require('node:readline')
const { JSDOM } = require('jsdom')

const root = path.join(__dirname, '..')
const built = path.join(root, '../../build/local') // make test-miniprogram builds it

// miniprogram-simulate needs a browser's globals. jsdom dispatches only events of
// its own classes, not of Node's.
const { window } = new JSDOM('<!DOCTYPE html><body></body>')
Object.assign(global, { window, document: window.document })
for (const name of ['Event', 'CustomEvent', 'TouchEvent']) global[name] = window[name]
const simulate = require('miniprogram-simulate')

// The component logs nothing. miniprogram-simulate logs only problems.
const consoleCalls = []
for (const name of ['log', 'info', 'warn', 'error', 'debug']) console[name] = (...args) => consoleCalls.push(args)

/** waitFor waits up to 10 s for a condition. what names it, as in "a post". */
async function waitFor(what, condition) {
  const end = performance.now() + 10000
  while (!condition()) {
    assert(performance.now() < end, `timed out waiting for ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** settle waits a settle, so that anything that must not happen could happen. */
const settle = () => new Promise(resolve => setTimeout(resolve, 50))

const cleanups = []
process.on('exit', () => cleanups.forEach(cleanup => cleanup()))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** startStage starts a stage. If wechat is set, its function calls WeChat at that URL. */
async function startStage({ wechat } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wechat-phone-'))
  const args = ['-bootstrap', path.join(built, 'bootstrap'), '-route', 'POST /phone']
  if (wechat) {
    // The mini-program that the stage knows. It is made up.
    const secret = path.join(dir, 'secret.json')
    fs.writeFileSync(secret, '{"appid":"wx0000000000000000","secret":"0123456789abcdef0123456789abcdef"}')
    args.push('-wechat', wechat, '-secret', secret)
  }
  const child = spawn(path.join(built, 'stage'), args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const cleanup = () => {
    child.kill('SIGTERM')
    fs.rmSync(dir, { recursive: true, force: true })
  }
  cleanups.push(cleanup)
  const exited = once(child, 'exit')
  const stage = { close: () => { cleanup(); return exited } }
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const [, name, url] = /^(phone function|WeChat) +(http:\S+)/.exec(line) || []
    if (name === 'phone function') stage.url = url
    if (name === 'WeChat') stage.wechat = url
    if (/Ctrl-C/.test(line)) return stage
  }
  throw new Error('the stage did not start')
}

/** listen starts a server that passes each request and its body to serve. */
async function listen(serve) {
  const server = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    await serve(request, response, Buffer.concat(chunks).toString())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => { server.close(); server.closeAllConnections() }
  return { url: `http://127.0.0.1:${server.address().port}`, close }
}

/** send sends an HTTP request. It keeps the case of the response's header names. */
function send(url, { method = 'GET', headers: more, body } = {}) {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', ...more }
    const request = http.request(url, { method, headers, agent: false }, async response => {
      const chunks = []
      try {
        for await (const chunk of response) chunks.push(chunk)
      } catch (error) {
        return reject(error)
      }
      const header = {}
      const raw = response.rawHeaders
      for (let i = 0; i < raw.length; i += 2) header[raw[i]] = raw[i + 1]
      resolve({ statusCode: response.statusCode, header, text: Buffer.concat(chunks).toString() })
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** Phone is a user's phone with a mock WeChat. The test controls its clock. */
class Phone {
  constructor(stage) {
    this.stage = stage
    this.shape = 'phone-code'
    this.online = true
    this.logins = [] // the codes from wx.login()
    this.posts = [] // the bodies
    this.tap = null // the button's data for the last login
    this.time = Date.now()
    this.timers = []

    const module = require(path.join(root, 'components/phone-login/wechat.js'))
    Object.assign(module, {
      now: () => this.time,
      random: () => 0,
      schedule: (ms, f) => {
        const timer = { at: this.time + ms, f }
        this.timers.push(timer)
        return () => { this.timers = this.timers.filter(other => other !== timer) }
      },
    })

    Object.assign(wx, {
      login: options => this.login(options),
      request: options => this.request(options),
      getNetworkType: ({ success }) => setTimeout(success, 0, { networkType: this.online ? 'wifi' : 'none' }),
      getAppBaseInfo: () => ({ language: 'en' }),
      getSystemInfoSync: () => ({ language: 'zh_CN' }),
    })
  }

  async login({ success, fail }) {
    this.logins.push('')
    const nth = this.logins.length - 1
    if (!this.online) return setTimeout(fail, 0, { errMsg: 'login:fail' })
    let answer
    try {
      answer = await send(`${this.stage.wechat}/tap?shape=${this.shape}`)
    } catch (error) { // the stage is closed
      return fail({ errMsg: 'login:fail' })
    }
    const { code, appid, ...tap } = JSON.parse(answer.text) // WeChat's button gives no appid
    this.appid = appid
    this.logins[nth] = code
    // The component ignores a code if a newer login has begun.
    if (nth === this.logins.length - 1) this.tap = tap.phoneCode ? { code: tap.phoneCode } : tap
    success({ code, errMsg: 'login:ok' })
  }

  /** send sends a request as wx.request does, with the Referer that no page can change. */
  send(url, options) {
    const referer = `https://servicewechat.com/${this.appid || 'touristappid'}/0/page-frame.html`
    return send(url, { ...options, headers: { referer } })
  }

  async request({ url, method = 'GET', data, success, fail }) {
    const body = data && JSON.stringify(data)
    if (method === 'POST') this.posts.push(JSON.parse(body))
    let response
    try {
      response = await this.send(url, { method, body })
    } catch (error) {
      return fail({ errMsg: 'request:fail' })
    }
    const { text, ...rest } = response
    let answer = text
    try { answer = JSON.parse(text) } catch (error) { /* like WeChat, keep the text */ }
    success({ ...rest, data: answer })
  }

  /** advance moves the component's clock forward and fires timers, including new ones. */
  async advance(ms) {
    const end = this.time + ms
    for (;;) {
      const [next] = this.timers.filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)
      if (!next) break
      this.timers = this.timers.filter(timer => timer !== next)
      this.time = Math.max(this.time, next.at)
      next.f()
      await settle()
    }
    this.time = end
  }
}

let id

/** Page is a page with the component. */
class Page {
  constructor(phone, properties) {
    id = id || simulate.load(path.join(root, 'components/phone-login/index'), 'phone-login', { rootPath: root })
    this.phone = phone
    this.component = simulate.render(id, properties)
    this.results = []
    this.component.addEventListener('result', ({ detail }) => this.results.push(detail))
    this.component.attach(document.body)
  }

  get button() {
    const { dom } = this.component.querySelector('.button')
    const attributes = {}
    for (const { name, value } of this.component.querySelector('.button').toJSON().attrs) attributes[name] = value
    return { ...attributes, text: dom.textContent }
  }

  get note() { return this.component.querySelector('.note').dom.textContent }

  async ready() { await waitFor('the button to be enabled', () => !this.button.disabled) }

  /** touch touches the button once it is enabled, or at once if even is 'disabled'. */
  async touch(even = '') {
    if (even !== 'disabled') await this.ready()
    const button = this.component.querySelector('.button')
    button.dispatchEvent('touchstart')
    button.dispatchEvent('touchend')
    await settle()
  }

  /** emit sends the button's event, which follows a touch. */
  emit(detail, event = 'getphonenumber') {
    this.component.querySelector('.button').dispatchEvent(event, { detail })
  }

  /** consent touches the button and agrees. */
  async consent() {
    await this.touch()
    this.emit({ errMsg: 'getPhoneNumber:ok', ...this.phone.tap })
  }

  /** result waits for the nth result. */
  async result(nth = 1) {
    await waitFor(`result ${nth}`, () => this.results.length >= nth)
    return this.results[nth - 1]
  }

  hide() { this.component.triggerPageLifeTime('hide') }
  show() { this.component.triggerPageLifeTime('show') }
  detach() { this.component.detach() }
}

module.exports = { Page, Phone, consoleCalls, listen, root, send, settle, simulate, startStage, waitFor }
