/** What is known about the user. */
export interface State {
  /**
   * asking: the first renewal is under way.
   * known: the token vouches for the user and the phone number; no tap is needed.
   * tap: only a tap gives a phone number; reason says why.
   * offline: there was no answer, so what follows is from the last visit. The next request tries again.
   * failed: the configuration is wrong, or WeChat blocks the user; see error and message.
   */
  status: 'asking' | 'known' | 'tap' | 'offline' | 'failed'
  /** Absent until a login has succeeded. */
  openid?: string
  unionid?: string
  /** The phone number in the form of E.164, if it is known. */
  e164?: string
  /** Of tap. new: there was no token to renew. The others are the function's. */
  reason?: 'new' | 'invalid' | 'foreign' | 'no_phone' | 'expired'
  /** Of offline and failed: the function's error, or no_answer, cannot_connect, no_login, offline, no_token. */
  error?: string
  /** The function's message, for the developer. */
  message?: string
  /** Finds the function's log line. */
  requestId?: string
  /** What WeChat said, if wx.login() or wx.request() failed. */
  errMsg?: string
  errno?: number
}

/** The part of the function's answer that the session keeps. */
export interface Answer {
  token?: string
  expiresIn?: number
  openid?: string
  unionid?: string
  e164?: string
}

export interface Options {
  /** The function's /login, or your backend, which calls it. */
  url: string
  /** By default the one that WeChat names. */
  appid?: string
  /** Additional headers of the post, for your backend. */
  header?: Record<string, string>
  /** Additional fields of the post, for your backend; the function ignores them. */
  data?: Record<string, any>
  /** For a backend that answers 200 to everything: the field that tells a success, as in the component, … */
  successField?: string
  /** … its value then, by default 0, … */
  successValue?: string | number | boolean
  /** … and the field that holds the function's answer, such as data. Without it, the body is the answer. */
  dataField?: string
}

/** Starts the session: reads what the last visit kept, and renews it. Call it once, in the app's onLaunch. */
export function open(options: Options): void

/** Calls f with the state, now and after each change, until you call the function that it returns. */
export function watch(f: (state: State) => void): () => void

/** Keeps the token of a success of the component: event.detail.data, as it is. open()'s options say where the token is. */
export function save(data: Answer | Record<string, any>): void

/** Renews the token if it is about to expire or the last renewal failed. done gets the state. */
export function renew(done?: (state: State) => void): void

/**
 * Is wx.request with the header Authorization. If the token is about to expire, it first renews it. It also renews
 * the token, and repeats the request once, if the answer is 401, if it is not a success by successField and has the
 * action login, or if a GET gets no answer although the phone is online.
 */
export function request(options: WechatMiniprogram.RequestOption): void

/**
 * Passes the header Authorization to done, for wx.uploadFile, wx.downloadFile and wx.connectSocket. If the token is
 * about to expire, it first renews it. The header is {} if there is no valid token.
 */
export function header(done: (header: Record<string, string>) => void): void

/** Forgets the user. The next visit needs a tap. */
export function clear(): void
