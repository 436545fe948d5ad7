// @ts-check
// stage: login codes and phone numbers are made up, by make start beside this.
// real: WeChat's own, with your appid in project.config.json.
const mode = 'stage'

const modes = {
  stage: {
    url: 'http://127.0.0.1:3000/phone',
    stage: 'http://127.0.0.1:3001/tap?shape=phone-code', // without the query, the older shape: sealed data
  },
  real: {
    url: 'https://phone.example.com/phone', // of your deployment, or http://127.0.0.1:3000/phone
    stage: '',
  },
}

module.exports = modes[/** @type {keyof modes} */ (mode)]
