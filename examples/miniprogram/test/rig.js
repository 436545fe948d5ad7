// What the tests stand on: the stage with the function's real bootstrap, a phone
// whose WeChat is faked only where nobody but WeChat has the thing itself, and
// the component, rendered and tapped.

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
const built = path.join(root, '../../build/local') // by make test-miniprogram

// miniprogram-simulate wants a browser's globals; Node's own event classes are
// none that jsdom dispatches.
const { window } = new JSDOM('<!DOCTYPE html><body></body>')
Object.assign(global, { window, document: window.document })
for (const name of ['Event', 'CustomEvent', 'TouchEvent']) global[name] = window[name]
const simulate = require('miniprogram-simulate')

// The component is quiet, and so is what renders it unless something is wrong.
const written = []
for (const name of ['log', 'info', 'warn', 'error', 'debug']) console[name] = (...args) => written.push(args)

/** until waits for what real HTTP brings about. */
async function until(what, condition) {
  const end = performance.now() + 10000
  while (!condition()) {
    assert(performance.now() < end, `in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** a while in which something that must not happen could. */
const moment = () => new Promise(resolve => setTimeout(resolve, 50))

const ends = []
process.on('exit', () => ends.forEach(end => end()))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** raise starts a stage; with wechat, one whose function calls that WeChat. */
async function raise({ wechat } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'wechat-phone-'))
  const args = ['-bootstrap', path.join(built, 'bootstrap'), '-route', 'POST /phone']
  if (wechat) {
    // The stage's own, and made up.
    const secret = path.join(dir, 'secret.json')
    fs.writeFileSync(secret, '{"appid":"wx0000000000000000","secret":"0123456789abcdef0123456789abcdef"}')
    args.push('-wechat', wechat, '-secret', secret)
  }
  const child = spawn(path.join(built, 'stage'), args, { stdio: ['ignore', 'pipe', 'ignore'] })
  const end = () => {
    child.kill('SIGTERM')
    fs.rmSync(dir, { recursive: true, force: true })
  }
  ends.push(end)
  const exited = once(child, 'exit')
  const stage = { end: () => { end(); return exited } }
  for await (const line of readline.createInterface({ input: child.stdout })) {
    const [, name, url] = /^(phone function|WeChat) +(http:\S+)/.exec(line) || []
    if (name === 'phone function') stage.url = url
    if (name === 'WeChat') stage.wechat = url
    if (/Ctrl-C/.test(line)) return stage
  }
  throw new Error('the stage did not start')
}

/**
 * listen starts a server that hands each request to serve, which answers, or
 * passes it on, as a test wants it.
 */
async function listen(serve) {
  const server = http.createServer(async (request, response) => {
    const chunks = []
    for await (const chunk of request) chunks.push(chunk)
    await serve(request, response, Buffer.concat(chunks).toString())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${server.address().port}`, end: () => { server.close(); server.closeAllConnections() } }
}

/** send is a request over real HTTP. Header names arrive as they were sent. */
function send(url, { method = 'GET', body } = {}) {
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, headers: { 'content-type': 'application/json' }, agent: false }, async response => {
      const chunks = []
      try {
        for await (const chunk of response) chunks.push(chunk)
      } catch (error) {
        return reject(error)
      }
      const header = {}
      for (let i = 0; i < response.rawHeaders.length; i += 2) header[response.rawHeaders[i]] = response.rawHeaders[i + 1]
      resolve({ statusCode: response.statusCode, header, text: Buffer.concat(chunks).toString() })
    })
    request.on('error', reject)
    request.end(body)
  })
}

/** Phone is a user's phone, with WeChat on it. */
class Phone {
  constructor(stage) {
    this.stage = stage
    this.shape = 'phone-code'
    this.online = true
    this.logins = [] // the codes of wx.login()
    this.posts = [] // the bodies
    this.tap = null // what the button will hand over, for the last login
    this.time = Date.now()
    this.timers = []

    const module = require(path.join(root, 'components/phone-login/wechat.js'))
    Object.assign(module, {
      now: () => this.time,
      chance: () => 0,
      later: (ms, f) => {
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
    } catch (error) { // the tests are over
      return fail({ errMsg: 'login:fail' })
    }
    const { code, ...tap } = JSON.parse(answer.text)
    this.logins[nth] = code
    // One that a newer login has overtaken is none that the component has.
    if (nth === this.logins.length - 1) this.tap = tap.phoneCode ? { code: tap.phoneCode } : tap
    success({ code, errMsg: 'login:ok' })
  }

  async request({ url, method = 'GET', data, success, fail }) {
    const body = data && JSON.stringify(data)
    if (method === 'POST') this.posts.push(JSON.parse(body))
    let response
    try {
      response = await send(url, { method, body })
    } catch (error) {
      return fail({ errMsg: 'request:fail' })
    }
    const { text, ...rest } = response
    let answer = text
    try { answer = JSON.parse(text) } catch (error) { /* stays text, as WeChat has it */ }
    success({ ...rest, data: answer })
  }

  /** pass lets time pass for the component. Timers that fire set new ones. */
  async pass(ms) {
    const end = this.time + ms
    for (;;) {
      const [next] = this.timers.filter(timer => timer.at <= end).sort((a, b) => a.at - b.at)
      if (!next) break
      this.timers = this.timers.filter(timer => timer !== next)
      this.time = Math.max(this.time, next.at)
      next.f()
      await moment()
    }
    this.time = end
  }
}

let id

/** Shown is the component on a page. */
class Shown {
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

  async ready() { await until('a button that can be tapped', () => !this.button.disabled) }

  /** touch touches the button. WeChat heeds no tap on one that is disabled. */
  async touch(disabled = false) {
    if (!disabled) await this.ready()
    const button = this.component.querySelector('.button')
    button.dispatchEvent('touchstart')
    button.dispatchEvent('touchend')
    await moment()
  }

  /** hand is the button's event after a touch. */
  hand(detail, event = 'getphonenumber') {
    this.component.querySelector('.button').dispatchEvent(event, { detail })
  }

  /** consent is a touch, and the user's yes. */
  async consent() {
    await this.touch()
    this.hand({ errMsg: 'getPhoneNumber:ok', ...this.phone.tap })
  }

  /** result waits for the nth result. */
  async result(nth = 1) {
    await until(`result ${nth}`, () => this.results.length >= nth)
    return this.results[nth - 1]
  }

  /** away hides the page, and come shows it again. */
  away() { this.component.triggerPageLifeTime('hide') }
  come() { this.component.triggerPageLifeTime('show') }
  detach() { this.component.detach() }
}

module.exports = { Phone, Shown, listen, moment, raise, root, send, simulate, until, written }
