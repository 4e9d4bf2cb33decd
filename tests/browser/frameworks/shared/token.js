// In the place of an app's own back end: a token of the service in development. The test names the service in the address.

export const url = globalThis.location ? new URLSearchParams(location.search).get('service') : 'http://localhost';

export async function getToken() {
  const { user } = document.documentElement.dataset;
  if (user === '') return null; // signed out
  const response = await fetch(`${url}/dev/v1/token`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ user_id: Number(user ?? 184) }),
  });
  if (!response.ok) throw new Error(`no token: ${response.status}`);
  return (await response.json()).token;
}
