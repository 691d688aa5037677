// Signing in with a passkey, and making one. Without a script there is the passphrase.

const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');

const post = async (url, body) => {
  const answer = await fetch(url, {
    method: 'POST', credentials: 'same-origin', cache: 'no-store', body,
    headers: { Accept: 'application/json', 'Content-Type': 'application/json' },
  });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.detail || 'That did not work.');
  return said;
};

const ids = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

const encode = (made) => JSON.stringify({
  id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: made.getClientExtensionResults(),
  response: Object.fromEntries(['clientDataJSON', 'attestationObject', 'authenticatorData', 'signature', 'userHandle']
    .filter((name) => made.response[name]).map((name) => [name, text(made.response[name])])),
});

for (const part of document.querySelectorAll('[data-passkey]')) {
  if (!window.PublicKeyCredential) continue;
  part.hidden = false;
  const wrong = part.querySelector('.wrong');
  part.querySelector('button').addEventListener('click', async () => {
    wrong.hidden = true;
    const url = part.dataset.passkey;
    const making = url.startsWith('/set-up');
    try {
      const { publicKey } = await post(`${url}/begin${part.dataset.anew ? '?anew=1' : ''}`, '{}');
      publicKey.challenge = bytes(publicKey.challenge);
      let made;
      if (making) {
        publicKey.user.id = bytes(publicKey.user.id);
        publicKey.excludeCredentials = ids(publicKey.excludeCredentials);
        made = await navigator.credentials.create({ publicKey });
      } else {
        publicKey.allowCredentials = ids(publicKey.allowCredentials);
        made = await navigator.credentials.get({ publicKey });
      }
      const to = part.dataset.to ? `?to=${encodeURIComponent(part.dataset.to)}` : '';
      location.assign((await post(url + to, encode(made))).to);
    } catch (error) {
      wrong.textContent = error.name === 'NotAllowedError' ? 'The browser gave no passkey. Try again, or use the passphrase.' : error.message;
      wrong.hidden = false;
    }
  });
}
