const assert = require('node:assert/strict')
const { test } = require('node:test')
const { read, pause } = require('../components/phone-login/answer')

test('an answer is read by its action, and without error by its status', () => {
  const of = (statusCode, data, header) => read({ statusCode, data, header })
  for (const action of ['login', 'tap', 'retry', 'wait', 'fix', 'none']) {
    assert.equal(of(500, { error: 'x', action }).action, action)
  }
  for (const [status, action] of [[429, 'wait'], [400, 'fix'], [404, 'fix'], [413, 'fix'], [500, 'login'], [502, 'login'], [503, 'login'], [504, 'login']]) {
    assert.equal(of(status, { message: 'the gateway’s own' }).action, action, String(status))
    assert.equal(of(status, '<html>').action, action, String(status))
    assert.equal(of(status, { error: 'x', action: 'of a later version' }).action, action, String(status))
  }
  assert.deepEqual(read(null), { action: 'login', error: 'no_answer', after: 0 })
  assert.equal(of(200, '<html>a network’s own page').action, 'login')
  assert.equal(of(200, null).action, 'login')
  assert.equal(of(204, '').action, 'login')
  assert.equal(of(200, { phoneNumber: '13580006666' }).action, 'success')
})

test('retry-after is honoured however a phone writes it', () => {
  const after = header => read({ statusCode: 429, data: {}, header }).after
  assert.equal(after({ 'retry-after': '60' }), 60000)
  assert.equal(after({ 'Retry-After': '7' }), 7000)
  for (const none of [undefined, {}, { 'retry-after': '' }, { 'retry-after': '-1' }, { 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' }]) {
    assert.equal(after(none), 0)
  }
})

test('pauses grow, are never shorter than retry-after, and end', () => {
  const all = answer => [0, 1, 2, 3].map(repeated => pause(answer, repeated, 0))
  assert.deepEqual(all({ action: 'retry', after: 0 }), [1000, 2000, 4000, -1])
  assert.deepEqual(all({ action: 'retry', after: 1500 }), [1500, 2000, 4000, -1])
  assert.deepEqual(all({ action: 'wait', after: 0 }), [5000, 15000, -1, -1])
  assert.deepEqual(all({ action: 'wait', after: 60000 }), [60000, 60000, -1, -1])
  assert.equal(pause({ action: 'wait', after: 60000 }, 0, 1), 75000)
  for (const action of ['success', 'login', 'tap', 'fix', 'none']) assert.equal(pause({ action, after: 1 }, 0, 0), -1)
})
