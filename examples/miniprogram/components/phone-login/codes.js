// @ts-check
// The login code: one for the whole mini-program, because wx.login() may change the
// session key, and WeChat seals the phone number with that key.
//
// A button needs the newest code. So nobody calls wx.login() while a button waits for
// consent or for its answer, and all buttons get a new code after each call.

const wechat = require('./wechat')

/** WeChat's lifetime of login codes and phone codes. Each works once. */
const CODE_LIFE = 5 * 60 * 1000
/** A code this old still leaves time for the consent and the post. */
const RENEW_AFTER = CODE_LIFE - 30 * 1000
/** Milliseconds before wx.login() is called again after a failure. */
const PAUSES = [1000, 2000, 4000]

/**
 * @typedef {import('./wechat').Failure} Failure
 *
 * A button on a page. update tells it whether there is a code: not yet, yes, or not
 * even after a few calls of wx.login().
 * @typedef {object} Button
 * @property {(state: 'asking' | 'ready' | 'offline', failure: Failure) => void} update
 *
 * @typedef {(code: string, failure: Failure) => void} Done passes '' if there is no code
 */

class Codes {
  constructor() {
    /** @type {{value: string, at: number} | null} */
    this.code = null // at is the time of the call to wx.login()
    this.calling = false // wx.login() is under way, or comes after a pause
    this.underWay = false // two calls might change the session key in either order
    /** @type {Button[]} */
    this.buttons = [] // on pages that are not hidden
    /** @type {Button | null} */
    this.holder = null // the button that waits for consent or for its answer
    this.heldUntil = 0
    /** @type {Done[]} */
    this.takers = []
    this.cancel = () => {}
  }

  /**
   * join gets a new code for a button when its page shows: while the page was hidden,
   * another part of the mini-program may have called wx.login().
   * @param {Button} button
   */
  join(button) {
    this.buttons.push(button)
    if (this.held() && this.holder === button) return
    if (this.held() || this.calling) button.update('asking', {})
    else this.renew()
  }

  /**
   * leave ends a button's updates. If the button holds the code for a tap, the tap stays pending.
   * @param {Button} button
   */
  leave(button) {
    this.buttons = this.buttons.filter(other => other !== button)
    this.rest()
  }

  /** needed reports whether anybody needs a code. */
  needed() { return this.buttons.length > 0 || this.takers.length > 0 || this.holder !== null }

  /** rest cancels what is scheduled if nobody needs a code. */
  rest() {
    if (this.needed()) return
    this.cancel()
    this.calling = this.underWay
  }

  /**
   * hold keeps the code for a button that was tapped, until release. It does not keep an
   * expired code: WeChat may never report what became of a tap.
   * @param {Button} button
   */
  hold(button) {
    if (this.held() || !this.code && !this.calling) return
    this.holder = button
    this.heldUntil = Infinity
    for (const other of this.buttons) if (other !== button) other.update('asking', {})
    if (this.code) this.holdUntilExpiry(button, this.code.at + CODE_LIFE)
  }

  /**
   * @param {Button} button
   * @param {number} expiry
   */
  holdUntilExpiry(button, expiry) {
    this.heldUntil = expiry
    this.schedule(expiry - wechat.now(), () => this.release(button))
  }

  /** held reports whether a button holds the code. */
  held() { return this.holder !== null && wechat.now() < this.heldUntil }

  /**
   * use returns the code for a button's tap and keeps it until release. It returns '' if
   * wx.login() is still under way, and null if the button does not hold the code.
   * @param {Button} button
   */
  use(button) {
    if (this.holder !== button) return null
    if (!this.code) return ''
    this.cancel()
    this.heldUntil = Infinity
    return this.code.value
  }

  /** @param {number} at */
  validAt(at) { return this.code !== null && at < this.code.at + CODE_LIFE }

  /**
   * release ends a button's tap and drops its code, which may be used.
   * @param {Button} button
   */
  release(button) {
    if (this.holder === button) this.holder = null
    if (!this.held() && !this.calling) this.renew()
  }

  /**
   * take gets a code for something other than a tap. It waits while a button holds the
   * code. The function that it returns gives up.
   * @param {Done} done
   */
  take(done) {
    this.takers.push(done)
    if (!this.held() && !this.calling) {
      if (this.validAt(wechat.now() + CODE_LIFE - RENEW_AFTER)) this.share()
      else this.renew()
    }
    return () => {
      this.takers = this.takers.filter(other => other !== done)
      this.rest()
    }
  }

  /** renew drops the code and calls wx.login(), if anybody needs a code. */
  renew() {
    this.cancel()
    this.code = null
    this.holder = null
    if (!this.needed()) return
    this.calling = true
    for (const button of this.buttons) button.update('asking', {})
    this.call(0)
  }

  /** @param {number} failures so far */
  call(failures) {
    const at = wechat.now()
    this.underWay = true
    wechat.login((value, failure) => {
      this.underWay = false
      if (value) return this.receive({ value, at })
      if (failures >= PAUSES.length || !this.needed()) return this.fail(failure)
      this.schedule(PAUSES[failures], () => this.call(failures + 1))
    })
  }

  /** @param {{value: string, at: number}} code */
  receive(code) {
    this.calling = false
    this.code = code
    const { holder } = this
    if (!holder) return this.share()
    this.holdUntilExpiry(holder, code.at + CODE_LIFE)
    holder.update('ready', {}) // it was tapped during the call
  }

  /** share gives the code to the first taker. Without a taker, it tells all buttons that it is there. */
  share() {
    const { value, at } = /** @type {{value: string, at: number}} */ (this.code)
    const done = this.takers.shift()
    if (done) {
      this.renew()
      return done(value, {})
    }
    if (this.buttons.length) this.schedule(at + RENEW_AFTER - wechat.now(), () => this.renew())
    for (const button of this.buttons) button.update('ready', {})
  }

  /** @param {Failure} failure */
  fail(failure) {
    const { buttons, takers } = this
    this.calling = false
    this.holder = null
    this.takers = []
    for (const button of buttons) button.update('offline', failure)
    for (const done of takers) done('', failure)
  }

  /**
   * schedule replaces the scheduled call, if there is one.
   * @param {number} ms
   * @param {() => void} f
   */
  schedule(ms, f) {
    this.cancel()
    this.cancel = wechat.schedule(ms, f)
  }
}

module.exports = { Codes, codes: new Codes() }
