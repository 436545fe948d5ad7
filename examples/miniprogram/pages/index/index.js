// @ts-check
const { url } = require('../../config')
const session = require('../../components/phone-login/session')

/** @type {import('../../components/phone-login/session').State} */
const nobody = { status: 'asking' }

Page({
  data: { url, user: nobody, outcome: '', problem: '' },

  stop: () => {},

  onLoad() { this.stop = session.watch(user => this.setData({ user, problem: describe(user) })) },
  onUnload() { this.stop() },

  /** @param {import('../../components/phone-login/index').ResultEvent} event */
  onResult({ detail }) {
    this.setData({ outcome: detail.outcome, problem: describe(detail) })
    if (detail.outcome === 'success') session.save(detail.data) // the next visit needs no tap
  },

  onForget() { session.clear() },
})

/**
 * describe returns what went wrong, for the developer. The user reads the component's note.
 * @param {{error?: string, message?: string, requestId?: string, errMsg?: string}} failure
 */
function describe({ error, message, requestId, errMsg }) {
  return [error, message, requestId, errMsg].filter(Boolean).join(' ')
}
