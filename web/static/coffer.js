// Comforts over pages that work without them: keys, timers, the reader's zone. Nothing here makes markup of text.

const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

// The reader's time zone, from the next page on.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `__Host-coffer-zone=${encodeURIComponent(zone)}; Path=/; Secure; SameSite=Lax; Max-Age=31536000`;

// A page that the browser kept must not outlive the session.
addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });

// The end of the session: two minutes before, a bar offers to stay; after it the page is left.
const until = Date.parse(document.body.dataset.until || '');
if (until) {
  const bar = one('#expiry');
  const tick = () => {
    const left = Math.round((until - Date.now()) / 1000);
    if (left <= 0) { location.replace('/sign-in?to=' + encodeURIComponent(location.pathname + location.search)); return; }
    if (left <= 120 && bar) {
      bar.hidden = false;
      one('[data-left]', bar).textContent = left > 60 ? `${Math.ceil(left / 60)} min` : `${left} s`;
    }
    setTimeout(tick, left > 121 ? (left - 120) * 1000 : 1000);
  };
  tick();
}

// Keys. Focus is the cursor; a letter moves it or opens something, and never acts.
const go = {};
for (const link of all('.places [data-go]')) go[link.dataset.go] = link.href;
const rows = () => all('[data-row]').filter((link) => link.offsetParent);
const at = () => rows().findIndex((link) => link.closest('tr, li').contains(document.activeElement));
const move = (by) => {
  const list = rows();
  const next = list[Math.max(0, Math.min(list.length - 1, at() + by))];
  if (next) { next.focus(); next.scrollIntoView({ block: 'nearest' }); }
};
const press = (selector) => {
  const target = one(selector);
  if (!target) return false;
  if (target.matches('input, select, textarea')) target.focus(); else target.click();
  return true;
};
let before = '';
let since = 0;
let anchor = -1;
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  if (event.target.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, dialog[open]') && event.key !== 'Escape') return;
  const after = event.timeStamp - since < 1500 ? before : '';
  before = ''; since = event.timeStamp;
  const here = document.activeElement.closest('tr, li');
  const done = () => event.preventDefault();
  if (after === 'g' && go[event.key]) { done(); location.assign(go[event.key]); return; }
  switch (event.key) {
    case '?': done(); one('#keys')?.showModal(); break;
    case '/': if (press('#find')) done(); break;
    case 'g': before = 'g'; break;
    case 'j': move(1); break;
    case 'k': move(-1); break;
    case 'x': case 'X': {
      const box = here && one('input[type=checkbox][name=id]', here);
      if (!box) break;
      const boxes = all('input[type=checkbox][name=id]');
      const i = boxes.indexOf(box);
      if (event.key === 'X' && anchor >= 0) for (let n = Math.min(i, anchor); n <= Math.max(i, anchor); n++) boxes[n].checked = true;
      else box.checked = !box.checked;
      anchor = i;
      selected();
      break;
    }
    case 'r': { const eye = (here && one('[data-key=r]', here)) || one('[data-key=r]'); if (eye) eye.click(); break; }
    case 'f': case 'v': case 'a': case 'p': case 'u': case 'y': case 'n': case '[': case ']': case '1': case '2': case '3': case '4': case '5': case '6':
      if (press(`[data-key="${event.key}"]`)) done();
      break;
    case 'Escape': {
      for (const open of all('details[open].person, details[open].menu')) open.open = false;
      if (!hide('esc')) { for (const box of all('input[name=id]:checked')) box.checked = false; selected(); }
      break;
    }
  }
});

// Selection in lists.
const bulk = one('[data-bulk]');
const selected = () => {
  if (!bulk) return;
  const boxes = all('input[name=id]');
  const on = boxes.filter((box) => box.checked);
  for (const box of boxes) box.closest('tr').classList.toggle('selected', box.checked);
  bulk.hidden = on.length === 0;
  one('[data-chosen]', bulk).textContent = on.length;
  one('[data-values]', bulk).textContent = on.reduce((sum, box) => sum + Number(box.dataset.sealed), 0).toLocaleString('en');
  const head = one('[data-all]');
  if (head) { head.checked = on.length > 0 && on.length === boxes.length; head.indeterminate = on.length > 0 && on.length < boxes.length; }
};
if (bulk) {
  bulk.hidden = true;
  document.addEventListener('change', (event) => {
    if (event.target.matches('[data-all]')) for (const box of all('input[name=id]')) box.checked = event.target.checked;
    if (event.target.matches('[data-all], [name=id]')) selected();
  });
  one('[data-clear]', bulk)?.addEventListener('click', () => { for (const box of all('input[name=id]:checked')) box.checked = false; selected(); });
  selected();
}

// What a form of filters has no say about does not go into the URL.
for (const form of all('form[data-lean]')) {
  form.addEventListener('submit', () => { for (const field of form.elements) if (field.name && !field.value) field.disabled = true; });
}

// Values that are open. They hide themselves after 30 seconds and whenever the reader turns away; hiding drops the text.
const exposure = one('#exposure');
let ends = 0;
let timer = 0;
let extended = 0;
const report = (what) => {
  const form = one('#shown');
  if (!form) return Promise.resolve(false);
  const body = new URLSearchParams(new FormData(form));
  body.set('what', what);
  return fetch(form.action, { method: 'POST', body, credentials: 'same-origin', keepalive: true, headers: { Accept: 'application/json' } })
    .then((answer) => answer.ok, () => false);
};
const values = () => all('.open-value');
function hide(why) {
  const open = values();
  if (!open.length) return false;
  clearInterval(timer);
  for (const value of open) {
    value.textContent = '';
    value.replaceWith(one('#mask-again').content.cloneNode(true));
  }
  if (exposure) exposure.hidden = true;
  report(`hidden-${why}`);
  return true;
}
if (exposure && values().length) {
  exposure.hidden = false;
  ends = Date.now() + 30000;
  const count = () => {
    const left = Math.ceil((ends - Date.now()) / 1000);
    if (left <= 0) { hide('time'); return; }
    one('[data-left]', exposure).textContent = `${left} s`;
  };
  count();
  timer = setInterval(count, 250);
  // The address is that of the finding: neither reload nor the way back shows a value again.
  history.replaceState(null, '', exposure.dataset.back);
  values()[0].closest('[tabindex]')?.focus();
  document.addEventListener('visibilitychange', () => { if (document.hidden) hide('left'); });
  for (const name of ['blur', 'pagehide', 'beforeprint']) addEventListener(name, () => hide(name === 'blur' ? 'left' : name));
  document.addEventListener('freeze', () => hide('left'));
  one('[data-hide]', exposure).addEventListener('click', () => hide('asked'));
  one('[data-longer]', exposure).addEventListener('click', async () => {
    if (extended >= 10 || !await report('extended')) return;
    extended += 1;
    ends += 30000;
  });
  const copy = async () => {
    const texts = values().map((value) => value.textContent);
    // Recorded first: what cannot be recorded is not copied.
    if (texts.length && await report('copied')) {
      await navigator.clipboard.writeText(texts.join('\n'));
      one('[data-copied]', exposure).textContent = 'Copied, and recorded.';
    } else {
      one('[data-copied]', exposure).textContent = 'Not copied: it could not be recorded.';
    }
  };
  one('[data-copy]', exposure).addEventListener('click', copy);
  document.addEventListener('copy', (event) => {
    if (values().some((value) => getSelection().containsNode(value, true))) { event.preventDefault(); copy(); }
  });
}
