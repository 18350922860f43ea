/**
 * What the page does by itself: local times, copying, the parts that are fetched anew, pointing at a moment. Everything can be read, and every
 * restore planned, without it.
 */
export const SCRIPT: string = `
const page = document.body;
const every = Number(page.dataset.refresh) || 0;
let answered = Date.now();

function localTimes(root) {
  for (const time of root.querySelectorAll('time[datetime]')) {
    const moment = new Date(time.dateTime);
    if (!Number.isNaN(moment.getTime())) time.title = moment.toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'long' });
  }
}

function copyButtons(root) {
  for (const button of root.querySelectorAll('button[data-copies]')) button.hidden = false;
}

function wake(root) {
  localTimes(root);
  copyButtons(root);
}

function say(text) {
  const told = document.getElementById('told');
  if (told) told.textContent = text;
}

async function copy(button) {
  const code = document.getElementById(button.dataset.copies);
  if (!code) return;
  const before = button.dataset.name || button.textContent;
  button.dataset.name = before;
  let done = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    done = false;
  }
  button.textContent = done ? 'Copied' : 'Selected';
  say(done ? 'The command was copied.' : 'The command is selected: copy it with your keyboard.');
  setTimeout(() => { button.textContent = before; }, 2000);
}

document.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-copies]');
  if (button) void copy(button);
});

/* What the server drew anew takes the place of what is shown. What has the focus stays where it is, so that nobody loses their place. */
function replace(old, fresh) {
  if (old.innerHTML === fresh.innerHTML) return;
  const open = new Set([...old.querySelectorAll('details[open][id]')].map(({ id }) => id));
  for (const details of fresh.querySelectorAll('details[id]')) if (open.has(details.id)) details.open = true;
  wake(fresh);
  const focused = document.activeElement;
  const isInside = old !== focused && old.contains(focused);
  const twin = isInside ? twinOf(focused, old, fresh) : undefined;
  if (twin !== undefined && replaceAround(old, fresh, focused, twin)) return;
  old.replaceChildren(...fresh.childNodes);
  if (!isInside) return;
  /* It is gone: the keyboard goes on from the part that it was in. */
  old.tabIndex = -1;
  (twin ?? old).focus({ preventScroll: true });
}

/* What somebody can tell an element by. */
function nameOf(element) {
  const { id, localName } = element;
  const said = element.getAttribute('aria-label') ?? (localName === 'pre' ? '' : element.textContent);
  return id === '' ? [localName, element.getAttribute('href'), element.getAttribute('name'), said].join(' ') : '#' + id;
}

/* The same element in what was drawn anew; of several of one name, the one in the same place among them. */
function twinOf(element, old, fresh) {
  const name = nameOf(element);
  const alike = (root) => [...root.querySelectorAll(element.localName)].filter((one) => nameOf(one) === name);
  return alike(fresh)[alike(old).indexOf(element)];
}

/* Replaces all around an element but the element itself; false, with nothing done, where they do not lie in the same kinds of elements. */
function replaceAround(old, fresh, kept, twin) {
  const path = (root, element) => {
    const steps = [];
    for (let at = element; at !== root; at = at.parentNode) steps.unshift(at);
    return steps;
  };
  const [mine, theirs] = [path(old, kept), path(fresh, twin)];
  if (mine.map(({ nodeName }) => nodeName).join() !== theirs.map(({ nodeName }) => nodeName).join()) return false;
  let around = old;
  mine.forEach((step, at) => {
    const all = [...theirs[at].parentNode.childNodes];
    const place = all.indexOf(theirs[at]);
    for (const node of [...around.childNodes]) if (node !== step) node.remove();
    step.before(...all.slice(0, place));
    step.after(...all.slice(place + 1));
    for (const { name } of [...step.attributes]) if (!theirs[at].hasAttribute(name)) step.removeAttribute(name);
    for (const { name, value } of theirs[at].attributes) if (step.getAttribute(name) !== value) step.setAttribute(name, value);
    around = step;
  });
  /* What somebody writes into is theirs. */
  if (!kept.matches('input, select, textarea') && kept.innerHTML !== twin.innerHTML) kept.replaceChildren(...twin.childNodes);
  return true;
}

function lost(text) {
  const banner = document.getElementById('lost');
  if (!banner) return;
  banner.hidden = text === undefined;
  const line = banner.querySelector('p');
  if (text !== undefined && line.textContent !== text) line.textContent = text;
}

function since() {
  const at = new Date(answered).toISOString().replace('T', ' ').slice(0, 19) + 'Z';
  return at + ', ' + Math.round((Date.now() - answered) / 1000) + ' s ago';
}

async function refresh() {
  try {
    const response = await fetch(location.href, { headers: { accept: 'text/html' }, redirect: 'error', signal: AbortSignal.timeout(Math.max(every, 5000)) });
    if (response.status === 401) return lost('You are not signed in any more: what is shown here is as of ' + since() + '. Load the page again to sign in.');
    if (response.status === 404) return lost('There is nothing at this address any more: what is shown here is as of ' + since() + '.');
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(await response.text(), 'text/html');
    for (const part of fresh.querySelectorAll('[data-live]')) {
      const old = document.getElementById(part.id);
      if (old) replace(old, part);
    }
    answered = Date.now();
    lost(undefined);
    drawCursor();
  } catch {
    lost('The daemon does not answer: what is shown here is as of ' + since() + '.');
  }
}

if (every > 0 && document.querySelector('[data-live]')) {
  let running = false;
  const tick = async () => {
    if (running || document.hidden) return;
    running = true;
    await refresh();
    running = false;
  };
  setInterval(tick, every);
  document.addEventListener('visibilitychange', tick);
}

/* The moment that is pointed at, in milliseconds since 1970; undefined before anybody has pointed. */
const pad = document.querySelector('.cursor-pad');
let moment;
let pinned = false;
let asked = 0;
let timer;

/* Undefined where there is nothing to draw, or not any more. */
function span() {
  const timeline = document.querySelector('.timeline');
  return timeline ? { from: Number(timeline.dataset.from), to: Number(timeline.dataset.to) } : undefined;
}

function drawCursor() {
  if (!pad) return;
  const drawn = span();
  pad.hidden = drawn === undefined;
  if (drawn === undefined) return;
  const { from, to } = drawn;
  const line = document.querySelector('.timeline .cursor');
  pad.setAttribute('aria-valuemin', String(from));
  pad.setAttribute('aria-valuemax', String(to));
  if (moment === undefined || !line) return;
  const inside = moment >= from && moment <= to;
  line.setAttribute('visibility', inside ? 'visible' : 'hidden');
  const x = (100 * (moment - from)) / (to - from) + '%';
  line.setAttribute('x1', x);
  line.setAttribute('x2', x);
  pad.setAttribute('aria-valuenow', String(moment));
  pad.setAttribute('aria-valuetext', new Date(moment).toISOString().replace('T', ' ').slice(0, 19) + ' UTC');
}

async function tell() {
  const number = ++asked;
  const at = new Date(moment).toISOString();
  const box = document.getElementById('moment');
  try {
    const response = await fetch(pad.dataset.moment + '?at=' + encodeURIComponent(at), { headers: { accept: 'text/html' } });
    const text = await response.text();
    if (number !== asked) return;
    if (!response.ok) throw new Error(String(response.status));
    const fresh = new DOMParser().parseFromString(text, 'text/html');
    wake(fresh.body);
    box.replaceChildren(...fresh.body.childNodes);
    const input = document.querySelector('input.moment-input');
    if (input) input.value = at.replace('T', ' ').slice(0, 19) + 'Z';
  } catch {
    if (number === asked) box.textContent = 'The daemon does not answer: what leads to this moment is unknown.';
  }
}

function point(wanted, wait) {
  const { from, to } = span() ?? { from: wanted, to: wanted };
  moment = Math.round(Math.min(to, Math.max(from, wanted)) / 1000) * 1000;
  drawCursor();
  clearTimeout(timer);
  timer = setTimeout(() => void tell(), wait);
}

if (pad) {
  const at = (event) => {
    const { left, width } = pad.getBoundingClientRect();
    const { from, to } = span() ?? { from: moment, to: moment };
    return from + ((to - from) * (event.clientX - left)) / width;
  };
  pad.addEventListener('pointermove', (event) => { if (!pinned) point(at(event), 120); });
  pad.addEventListener('click', (event) => { pinned = !pinned; point(at(event), 0); pad.focus({ preventScroll: true }); });
  pad.addEventListener('keydown', (event) => {
    const drawn = span();
    if (drawn === undefined) return;
    const { from, to } = drawn;
    const now = moment === undefined ? Number(document.querySelector('.timeline').dataset.now) : moment;
    const step = (to - from) / (event.shiftKey ? 2000 : 100);
    const wanted = {
      ArrowLeft: now - step, ArrowDown: now - step, ArrowRight: now + step, ArrowUp: now + step,
      PageDown: now - 10 * step, PageUp: now + 10 * step, Home: from, End: to, Enter: now, ' ': now,
    }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    pinned = true;
    point(wanted, 120);
  });
  drawCursor();
}

wake(document);
`;
