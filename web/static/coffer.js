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
// What a link or the head of a menu opens, is opened; what would act is given the focus, so that Enter acts.
const press = (selector) => {
  const target = all(selector).find((it) => it.getClientRects().length);
  if (!target) return false;
  if (!target.matches('a, summary')) { target.focus(); return true; }
  target.click();
  const menu = target.matches('summary') && target.parentElement.open && one('input:not([type=hidden]), select, textarea, button, a', target.nextElementSibling);
  if (menu) menu.focus();
  return true;
};
const values = () => all('.open-value');
let before = '';
let since = 0;
let anchor = -1;
addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing || event.defaultPrevented) return;
  if (event.target.closest('input:not([type=checkbox]):not([type=radio]), textarea, select, dialog[open]') && event.key !== 'Escape') return;
  if (document.body.dataset.letters === 'off' && event.key.length === 1) return;
  const after = event.timeStamp - since < 1500 ? before : '';
  before = ''; since = event.timeStamp;
  const here = document.activeElement.closest('tr, li');
  const done = () => event.preventDefault();
  if (after === 'g' && go[event.key]) { done(); location.assign(go[event.key]); return; }
  switch (event.key) {
    case '?': done(); one('#keys')?.showModal(); break;
    case '/': if (press('#find')) done(); break;
    case 'g': before = 'g'; break;
    // On a finding the two lead through the list that it is of; elsewhere through the rows.
    case 'j': case 'k': if (!press(`[data-key="${event.key}"]`)) move(event.key === 'j' ? 1 : -1); break;
    case 'ArrowDown': case 'ArrowUp':
      if (document.activeElement.matches('[data-row]')) { done(); move(event.key === 'ArrowDown' ? 1 : -1); }
      break;
    case 'x': case 'X': {
      const box = here && one('input[type=checkbox][name=finding]', here);
      if (!box) break;
      const boxes = all('input[type=checkbox][name=finding]');
      const i = boxes.indexOf(box);
      if (event.key === 'X' && anchor >= 0) for (let n = Math.min(i, anchor); n <= Math.max(i, anchor); n++) boxes[n].checked = true;
      else box.checked = !box.checked;
      anchor = i;
      selected();
      break;
    }
    case 'r': { const eye = (here && one('[data-key=r]', here)) || one('[data-key=r]') || one('[data-first=r]'); if (eye) { done(); eye.click(); } break; }
    case 'y': { const act = one('[data-focus=y]'); if (act) { done(); act.focus(); } break; }
    case 'f': case 'v': case 'a': case 'm': case 'p': case 'u': case 'n': case '[': case ']': case '1': case '2': case '3': case '4': case '5': case '6': case '7':
      if (press(`[data-key="${event.key}"]`)) done();
      break;
    case 'Escape': {
      if (one('dialog[open]')) { hide('esc'); break; }
      // Values first, then what is open, then what is selected.
      if (hide('esc')) break;
      const open = all('details[open].person, details[open].menu, details[open].pop');
      for (const it of open) { it.open = false; if (it.contains(document.activeElement)) one('summary', it).focus(); }
      if (open.length === 0) { for (const box of all('input[name=finding]:checked')) box.checked = false; selected(); }
      break;
    }
  }
});

// Enter on a link that opens a dialog is used up by that, until it is let go: what the browser makes of the key next would go to the
// dialog's first field and send its form, unasked.
let held = false;
addEventListener('keydown', (event) => {
  if (event.key !== 'Enter') return;
  if (held || event.repeat && event.target.closest('dialog')) { event.preventDefault(); return; }
  if (!event.target.matches('[data-dialog]') || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  held = true;
  event.target.click();
}, true);
addEventListener('keypress', (event) => { if (held && event.key === 'Enter') event.preventDefault(); }, true);
addEventListener('keyup', (event) => { if (event.key === 'Enter') held = false; }, true);

// Dialogs over pages that work without them: the link says what the form in the dialog is about, and leads to the form's own page otherwise.
for (const link of all('[data-dialog]')) {
  link.addEventListener('click', (event) => {
    const dialog = document.getElementById(link.dataset.dialog);
    if (!dialog || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    for (const it of all('[data-from]', dialog)) {
      const text = link.dataset[it.dataset.from] || '';
      if (it.matches('input')) it.value = text; else it.textContent = text;
    }
    for (const it of all('[data-many]', dialog)) {
      it.hidden = Number(link.dataset.all) < 2;
      one('[value=some]', it).checked = true;
    }
    counted(dialog);
    dialog.showModal();
  });
}
const counted = (within) => {
  const count = one('[data-count]', within);
  const all24 = one('[name=scope][value=all]', within);
  if (count && all24) count.textContent = all24.checked ? `${one('[data-from=all]', within).textContent} values` : '1 value';
};
document.addEventListener('change', (event) => { if (event.target.name === 'scope') counted(event.target.form); });
for (const cancel of all('dialog [data-close]')) cancel.addEventListener('click', (event) => { event.preventDefault(); cancel.closest('dialog').close(); });

// One menu is open at a time, and none when something else is pressed.
document.addEventListener('click', (event) => {
  for (const it of all('details[open].pop, details[open].person')) if (!it.contains(event.target)) it.open = false;
});

// After an act the focus is on the row that it was about, or on what was done.
const landed = location.hash.startsWith('#f-') && document.getElementById(location.hash.slice(1));
if (landed) {
  one('[data-row]', landed)?.focus();
  history.replaceState(null, '', location.pathname + location.search);
} else one('.said [data-result]')?.focus();

// What can be taken back is offered for ten seconds, and while it has the focus or the pointer.
const toast = one('.toast');
if (toast) {
  const leave = () => { if (toast.matches(':hover, :focus-within')) setTimeout(leave, 2000); else toast.hidden = true; };
  setTimeout(leave, 10000);
}

// Selection in lists.
const bulk = one('[data-bulk]');
const selected = () => {
  if (!bulk) return;
  const boxes = all('input[name=finding]');
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
    if (event.target.matches('[data-all]')) for (const box of all('input[name=finding]')) box.checked = event.target.checked;
    if (event.target.matches('[data-all], [name=finding]')) selected();
  });
  one('[data-clear]', bulk)?.addEventListener('click', () => { for (const box of all('input[name=finding]:checked')) box.checked = false; selected(); });
  selected();
}

// What a form of filters has no say about does not go into the URL.
for (const form of all('form[data-lean]')) {
  form.addEventListener('submit', () => { for (const field of form.elements) if (field.name && !field.value) field.disabled = true; });
}

// Long work that is under way: asked for once a second, and the page loaded anew when there is more to see.
const going = one('[data-progress]');
if (going) {
  const address = location.pathname + location.search;
  const look = async () => {
    const answer = await fetch(address, { credentials: 'same-origin', headers: { Accept: 'application/json' } }).catch(() => null);
    if (!answer || !answer.ok) { setTimeout(look, 5000); return; }
    const now = await answer.json();
    if (now.over) { location.reload(); return; }
    one('[data-progress-text]', going).textContent = now.text;
    const bar = one('progress', going);
    bar.max = now.of;
    bar.value = now.done;
    setTimeout(look, 1000);
  };
  setTimeout(look, 500);
}

// A button that only scripts can serve.
for (const button of all('[data-print]')) { button.hidden = false; button.addEventListener('click', () => print()); }

// Values that are open. They hide themselves after 30 seconds and whenever the reader turns away; hiding drops the text.
const exposure = one('#exposure');
let ends = 0;
let timer = 0;
let extended = 0;
let shown = 0;
const report = (what) => {
  const form = one('#shown');
  if (!form) return Promise.resolve(false);
  const body = new URLSearchParams(new FormData(form));
  body.set('what', what);
  body.set('seconds', Math.round((Date.now() - shown) / 1000));
  // As a form sends it: a charset beside the media type would be another one.
  const headers = { Accept: 'application/json', 'Content-Type': 'application/x-www-form-urlencoded' };
  return fetch(form.action, { method: 'POST', body: body.toString(), credentials: 'same-origin', keepalive: true, headers })
    .then((answer) => answer.ok, () => false);
};
function hide(why) {
  const open = values();
  if (!open.length) return false;
  clearInterval(timer);
  for (const value of open) {
    value.textContent = '';
    value.replaceWith(one('#mask-again').content.cloneNode(true));
  }
  if (exposure) { one('[role=status]', exposure).textContent = ''; exposure.hidden = true; }
  report(`hidden-${why}`);
  return true;
}
if (exposure && values().length) {
  exposure.hidden = false;
  shown = Date.now();
  ends = shown + 30000;
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
  one('[data-live]', exposure).textContent = `${values().length === 1 ? '1 value' : `${values().length} values`} visible for 30 seconds`;
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
