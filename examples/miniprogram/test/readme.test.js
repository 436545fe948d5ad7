const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const texts = require('../components/phone-login/texts')

let component
global.Component = definition => { component = definition }
require('../components/phone-login/index')
const session = require('../components/phone-login/session')

const root = path.join(__dirname, '..')
const readmes = ['README.md', 'README.zh-CN.md'].map(name => fs.readFileSync(path.join(root, name), 'utf8'))

/** firstColumn returns the names in the first column of the table whose header begins with heading. */
const firstColumn = (readme, heading) => {
  const [rows] = readme.split(new RegExp(`^\\| ${heading} \\|.*\n`, 'm'))[1].split('\n\n')
  return [...rows.matchAll(/^\| `([\w-]+)/gm)].map(row => row[1]).sort()
}

/** kebab is a property's name in WXML. */
const kebab = name => name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)

test('session.d.ts and the module have the same functions', () => {
  const types = fs.readFileSync(path.join(root, 'components/phone-login/session.d.ts'), 'utf8')
  const declared = [...types.matchAll(/^export function (\w+)/gm)].map(match => match[1])
  const exported = Object.entries(session).filter(([name, value]) => typeof value === 'function' && name !== 'Session')
  assert.deepEqual(exported.map(([name]) => name).sort(), declared.sort())
  for (const readme of readmes) assert.deepEqual(firstColumn(readme, '(?:function|函数)'), declared.sort())
})

test('the files to copy need no others', () => {
  const folder = path.join(root, 'components/phone-login')
  for (const file of fs.readdirSync(folder)) {
    const text = fs.readFileSync(path.join(folder, file), 'utf8')
    for (const [, name] of text.matchAll(/(?:require|import)\('([^']+)'\)/g)) {
      assert.match(name, /^\.\/\w+$/, file)
    }
  }
})

test('both READMEs list the outcomes, statuses, reasons, properties and modes of the code', () => {
  const outcomes = Object.keys(texts.en.note).filter(note => !['waiting', 'no_network'].includes(note)).sort()
  const types = fs.readFileSync(path.join(root, 'components/phone-login/session.d.ts'), 'utf8')
  const union = field => new RegExp(`${field}: (.+)`).exec(types)[1].match(/\w+/g).sort()
  const config = fs.readFileSync(path.join(root, 'config.js'), 'utf8')
  const modes = [...config.matchAll(/^  (\w+): {/gm)].map(mode => mode[1]).sort()
  for (const readme of readmes) {
    assert.deepEqual(firstColumn(readme, '`outcome`'), outcomes)
    assert.deepEqual(firstColumn(readme, '(?:property|属性)'), Object.keys(component.properties).map(kebab).sort())
    assert.deepEqual(firstColumn(readme, '`status`'), union('status'))
    assert.deepEqual(firstColumn(readme, '`reason`'), union('reason\\?'))
    assert.deepEqual(firstColumn(readme, '`mode`'), modes)
  }
})

test('both READMEs and the types name each error of the component', () => {
  const folder = path.join(root, 'components/phone-login')
  const read = name => fs.readFileSync(path.join(folder, name), 'utf8')
  const errors = name => [...read(name).matchAll(/\berror: (?:\w+ \? undefined : )?'(\w+)'/g)].map(match => match[1])
  const wanted = { 'index.d.ts': ['answer.js', 'login.js'], 'session.d.ts': ['session.js'] }
  for (const [types, files] of Object.entries(wanted)) {
    const found = files.flatMap(errors)
    assert(found.length >= 3, `got ${found} in ${files}`)
    for (const error of found) {
      assert.match(read(types), new RegExp(`\\b${error}\\b`), types)
      for (const readme of readmes) assert(readme.includes(`\`${error}\``), `got no ${error} in a README`)
    }
  }
})

test('both READMEs have the same commands and code, and no broken links', () => {
  const blocks = readme => [...readme.matchAll(/```\w+\n([^]*?)```/g)].map(block => block[1].replace(/ +#.*/g, ''))
  assert.deepEqual(blocks(readmes[0]), blocks(readmes[1]))
  const makefile = fs.readFileSync(path.join(root, '../../Makefile'), 'utf8')
  for (const readme of readmes) {
    for (const [, target] of readme.matchAll(/^make ([a-z-]+)/gm)) {
      assert.match(makefile, new RegExp(`^${target}:`, 'm'))
    }
    for (const [, file, anchor] of readme.matchAll(/\]\((?!https:)([^)#]*)(?:#([^)]+))?\)/g)) {
      const target = path.join(root, file)
      const text = !file ? readme : fs.statSync(target).isDirectory() ? '' : fs.readFileSync(target, 'utf8')
      if (!anchor) continue
      const anchors = [...text.matchAll(/^#+ (.*)$/gm)].map(heading => heading[1].toLowerCase().replace(/ /g, '-'))
      assert(anchors.includes(decodeURIComponent(anchor)), `got no heading for ${file}#${anchor}`)
    }
  }
})
