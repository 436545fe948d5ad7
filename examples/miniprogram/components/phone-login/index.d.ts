/** The result of a tap, as event.detail of bindresult. */
export interface Result {
  outcome: Outcome
  /** The JSON of a success, or of an envelope that reports a failure. */
  data?: any
  /**
   * The function's error, or one of the component's: no_answer, cannot_connect, envelope, offline, no_code,
   * code_expired.
   */
  error?: string
  /** The HTTP status. */
  status?: number
  /** The function's message, for the developer. */
  message?: string
  /** Finds the function's log line. */
  requestId?: string
  /** What WeChat said, if the button, wx.login() or wx.request() failed. */
  errMsg?: string
  errno?: number
}

export type Outcome =
  | 'success'
  | 'refused'
  | 'no_quota'
  | 'privacy_refused'
  | 'privacy_undeclared'
  | 'button_failed'
  | 'no_login'
  | 'tap_again'
  | 'later'
  | 'failed'

/** The function's answer to /phone, as data of a success if your backend passes it on. */
export interface PhoneAnswer {
  phoneNumber: string
  purePhoneNumber: string
  countryCode: string
  /** In the form of E.164, if that is certain. */
  e164?: string
  openid?: string
  unionid?: string
  token?: string
  /** The token's life in seconds. */
  expiresIn?: number
}

/** The event of bindresult: onResult(event: ResultEvent) { … } */
export interface ResultEvent {
  detail: Result
}
