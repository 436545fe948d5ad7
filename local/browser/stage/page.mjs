import { handler } from './backend.mjs'
import { forget, launch, parse } from './phone.mjs'
import { groups, texts } from './texts.mjs'

const APPS = ['wx0000000000000000', 'wx2222222222222222', 'wx3333333333333333']
const LANES = ['page', 'gateway', 'function', 'secrets', 'wechat']
const $ = id => document.getElementById(id)

let language = /^zh/.test(navigator.language) ? 'zh' : 'en'
let text = texts[language]
let phone = null
let appid = APPS[0]
let shape = 'phone-code'
let fault = 'none'
let met = false // whether a request has met the fault
let response = null // the last to a POST
const logs = new Map() // the function's log lines, by request id
const runbook = fetch('/stage/operations.md').then(response => response.text())
let arrows = [] // the diagram's

/** element makes an element with properties and children. */
function element(tag, properties, ...children) {
  const node = Object.assign(document.createElement(tag), properties)
  node.append(...children)
  return node
}

// 1. Choose

function showChoices() {
  const choice = (name, value, label, checked, choose) => element('label', { className: 'choice' },
    element('input', { type: 'radio', name, value, checked, onchange: () => choose(value) }),
    element('span', {}, label))
  const fill = (id, ...rows) => $(id).replaceChildren($(id).querySelector('legend'), ...rows)
  const row = (label, choices) => element('div', { className: 'row', role: label && 'group', ariaLabel: label },
    ...label ? [element('b', { ariaHidden: true }, label)] : [], ...choices)
  fill('apps', row('', APPS.map((id, i) =>
    choice('app', id, text.apps[i], id === appid, id => { appid = id; showExpected(); open() }))))
  fill('shapes', row('', Object.keys(text.shapes).map(name =>
    choice('shape', name, text.shapes[name], name === shape, name => { shape = name }))))
  fill('faults', ...Object.keys(groups).map(group => row(text.groups[group], Object.keys(groups[group]).map(name =>
    choice('fault', name, text.faults[name][0], name === fault, inject)))))
  showExpected()
}

async function showExpected() {
  const name = fault === 'none' && appid === APPS[2] ? 'wrong' : fault
  $('expected').querySelector('p').textContent = text.faults[name][1]
  const heading = Object.assign({}, ...Object.values(groups))[name]
  $('runbook').hidden = !heading
  const sections = (await runbook).split(/\n##+ /).filter(section => section.startsWith(heading))
  $('runbook').querySelector('pre').textContent = sections.pop()
}

/** inject injects a fault, and waits until the stage has told all pages. */
async function inject(name) {
  const told = new Promise(resolve => events.addEventListener('fault', resolve, { once: true }))
  const { ok } = await fetch(`/stage/faults/${name}`, { method: 'POST' }).catch(error => error)
  if (ok) await told
}

// 2. Tap

/** open opens the mini-program. */
function open() {
  if (phone) phone.close()
  clear()
  ask(false)
  $('note').textContent = ''
  showAnswer(null)
  phone = launch({
    appid, language,
    shape: () => shape,
    referer: () => fault === 'foreign' ? APPS.find(id => id !== appid) : appid, // as if another mini-program posted
    user(number, button) {
      const focused = $('app').contains(document.activeElement)
      const leave = () => { phone.forget(); showAnswer(null) }
      const login = { id: 'login', type: 'button', className: 'green', onclick: () => { if (phone.touch()) ask(true) } }
      if (number) $('app').replaceChildren(element('p', { className: 'number' }, number),
        element('button', { type: 'button', onclick: leave }, text.leave))
      else if (!button) $('app').replaceChildren(text.asking)
      else if (!$('login')) $('app').replaceChildren(element('button', login))
      if (focused && $('app').lastElementChild) $('app').lastElementChild.focus()
    },
    button(phase, label, note) {
      $('login').textContent = label
      $('login').ariaDisabled = phase !== 'ready' && phase !== 'offline' // unlike disabled, it keeps the focus
      $('note').textContent = note
      if (phase === 'sending') $('verdict').textContent = $('action').textContent = '…'
    },
    answered: (last, visit) => { met = true; showAnswer(last, visit) },
  })
}

/** ask opens or closes WeChat's question. */
function ask(asking) {
  $('sheet').hidden = !asking
  $('app').inert = asking
  if (asking) $('allow').focus()
}

async function consent(allowed, asked = phone) {
  if ($('sheet').hidden) return // a second click
  ask(false)
  $('login').focus()
  if (allowed && met && fault !== 'none') await inject(fault)
  clear('GET /login')
  asked.consent(allowed)
}

// 3. Watch

/** clear removes all calls from the diagram except the last one with a name. */
function clear(name) {
  const last = arrows.findLast(arrow => arrow.call.name === name)
  const kept = arrows.filter(arrow => last && arrow.call.id === last.call.id)
  arrows.filter(arrow => !kept.includes(arrow)).forEach(arrow => arrow.node.remove())
  arrows = kept
  $('calls').dataset.empty = text.waiting
}

function showCall(call) {
  if (call.ms) showArrow(call, 'reply', call.to, call.from, failureOf(call), call.answer, call.ms)
  else showArrow(call, 'call', call.from, call.to, nameOf(call), call.request)
}

function showArrow(call, kind, from, to, title, data, ms) {
  const [a, b] = [LANES.indexOf(from), LANES.indexOf(to)]
  const bad = kind === 'reply' && title
  const time = ms ? `${ms.toFixed(ms < 1 ? 2 : ms < 10 ? 1 : 0)} ms` : ''
  const label = element('span', { className: 'label' },
    element('span', { className: 'hidden' }, `${text.lanes[from]} → ${text.lanes[to]}: `), element('b', {}, title), ' ',
    element('i', {}, bad ? '' : fieldsOf(call, data)), ' ', element('small', {}, time))
  const summary = element('summary', {}, label, element('span', { className: 'wire' }))
  const details = element('details', {}, summary, element('pre', {}, pretty(data) || '–'))
  const node = element('li', { className: `${kind} ${b < a ? 'left' : 'right'} ${bad ? 'bad' : ''}` }, details)
  node.style.setProperty('--from', Math.min(a, b))
  node.style.setProperty('--span', Math.abs(a - b))
  arrows.push({ call, node })
  $('calls').append(node)
  if (arrows.length > 200) arrows.shift().node.remove()
}

function nameOf({ to, name }) {
  if (to !== 'wechat') return name.replace('secretsmanager.', '')
  return { 'GET /tap': 'getPhoneNumber', 'GET /login': 'wx.login()' }[name] || name.split('/').pop()
}

/** failureOf returns what went wrong, or '' if nothing did. */
function failureOf({ status, answer }) {
  const { errcode, errmsg, error, __type } = parse(answer)
  if (errcode) return `${errcode} ${errmsg.replace(/, rid.*/, '')}`
  return error ? `${status} ${error}` : __type || (!status ? text.noAnswer : status < 400 ? '' : String(status))
}

/** fieldsOf lists the names in a call's queries and JSON, less what only the mock WeChat needs. */
function fieldsOf({ name }, data) {
  const names = data.split('\n').map(parse).flatMap(part =>
    part === Object(part) ? Object.keys(part) : [...new URLSearchParams(part).keys()])
  const mock = { 'GET /login': ['user', 'appid'], 'GET /tap': ['code', 'appid', 'shape'] }[name]
  const dull = mock || ['grant_type', 'force_refresh', 'errcode', 'errmsg', 'routeKey', 'requestContext']
  return names.filter(name => !dull.includes(name)).join(', ')
}

function pretty(data) {
  return data.replaceAll('&', '\n').replace(/^\{.*/m, json => JSON.stringify(parse(json), null, 2))
}

// 4. Read

function showAnswer(last, visit) {
  response = last
  $('read').hidden = $('outcome').hidden = !response
  if (!response) return
  const { statusCode = '', data = response } = response
  const { action, error = '' } = phone.read(statusCode ? response : null)
  const success = action === 'success'
  const silent = data.renewed ? 'renewed' : 'silent'
  const outcome = !visit ? action : success ? silent : /login|retry|wait/.test(action) ? 'again' : action
  $('outcome').className = success ? 'good' : 'bad'
  $('verdict').textContent = `${statusCode} ${success ? 'OK' : `${error} → ${action}`}`
  $('action').textContent = text.actions[outcome === 'tap' ? 'login' : outcome]
  $('answer').textContent = JSON.stringify(data, null, 2).replace(/(eyJ[\w-]{12})[\w.-]+/, '$1…')
  showLog()
  showToken(data.token)
}

function showLog() {
  const line = response && logs.get((response.header || {})['x-request-id'])
  $('log').textContent = line ? pretty(line) : ''
}

function showToken(token) {
  $('token').hidden = !token
  $('backend').textContent = ''
  if (!token) return
  const parts = token.split('.')
  $('parts').replaceChildren(...parts.map((part, i) => element('span', {}, `${i ? '.' : ''}${part.slice(0, 24)}…`)))
  const [header, claims] = parts.slice(0, 2).map(part => parse(atob(part.replace(/-/g, '+').replace(/_/g, '/'))))
  const show = value => typeof value === 'number' ? new Date(value * 1000).toLocaleString(language) : String(value)
  const row = ([name, value]) => element('tr', {}, element('th', { scope: 'row' }, name),
    element('td', {}, show(value), ' ', element('small', {}, text.claims[name] || '')))
  $('token').querySelector('table').replaceChildren(...Object.entries({ ...header, ...claims }).map(row))
}

function callBackend(route) {
  phone.request(`/stage${route}`, async ({ statusCode, data, header = {} }) => {
    const passed = statusCode === 200
    $('backend').className = passed ? 'good' : 'bad'
    const said = passed ? [text.passed, (await handler(data)).body] : [text.refused, header['www-authenticate']]
    $('backend').textContent = statusCode ? [statusCode, ...said].join(' ') : text.noAnswer
  })
}

// All of it

function translate() {
  text = texts[language]
  document.documentElement.lang = language
  for (const node of document.querySelectorAll('[data-text]')) node.textContent = text[node.dataset.text]
  Object.assign($('language'), { textContent: text.other, lang: language === 'zh' ? 'en' : 'zh' })
  $('lanes').replaceChildren(...LANES.map(lane => element('span', {}, text.lanes[lane])))
  showChoices()
  open()
}

$('language').onclick = () => { language = language === 'zh' ? 'en' : 'zh'; translate() }
$('again').onclick = open
$('fresh').onclick = () => { forget(appid); open() }
for (const id of ['allow', 'refuse']) $(id).onclick = () => consent(id === 'allow')
$('sheet').onkeydown = ({ key }) => { if (key === 'Escape') consent(false) }
for (const button of document.querySelectorAll('[data-route]')) button.onclick = () => callBackend(button.dataset.route)

const events = new EventSource('/stage/events')
events.addEventListener('call', ({ data }) => showCall(JSON.parse(data)))
events.addEventListener('log', ({ data }) => {
  const line = JSON.parse(data)
  logs.set(parse(line).requestId, line)
  showLog()
})
events.addEventListener('fault', ({ data }) => {
  fault = JSON.parse(data)
  met = false
  clear('GET /login')
  for (const radio of document.querySelectorAll('[name=fault]')) radio.checked = radio.value === fault
  showExpected()
})
events.addEventListener('open', () => inject('none').then(translate))
events.addEventListener('error', () => { $('expected').querySelector('p').textContent = text.gone })
