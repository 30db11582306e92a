// Requests to the viewer's own routes, each with a signed permit in a header; a permit that has expired is renewed once.

const TOKEN_WAIT_MS = 15_000;

export class Refused extends Error {}

export async function sentence(response) {
  const text = await response.text();
  return text.length > 0 && text.length < 2000 ? text : `the server answered ${response.status}`;
}

export class Server {
  // `renew` makes the page run again, which gives it new permits.
  constructor(renew) {
    this.renew = renew;
    this.waiters = [];
    this.permits = {};
  }

  // The permits of a page run: of the study that is open, and of the folder as a whole.
  take(permits) {
    this.permits = permits;
    for (const resolve of this.waiters.splice(0)) resolve();
  }

  permitFor(url) {
    const study = /^\/data\/studies\/([^/]+)/.exec(url)?.[1];
    if (study === undefined) return this.permits.folder;
    return this.permits.studies?.[study] ?? this.permits.study;
  }

  fresh() {
    return new Promise((resolve, reject) => {
      this.waiters.push(resolve);
      setTimeout(() => reject(new Error("the server did not answer; is it still running? Reload the page.")), TOKEN_WAIT_MS);
      this.renew();
    });
  }

  // The response where all is well; otherwise an error with the server's sentence, which has `isAnswer` set, and
  // `isConflict` on a 409. Where there was no answer, or the session is lost, the error has neither.
  async request(url, { method = "GET", body, headers = {}, signal } = {}) {
    const send = () => fetch(url, { method, body, signal, cache: "no-store", headers: { Authorization: `Bearer ${this.permitFor(url)}`, ...headers } });
    return this.answered(send);
  }

  // Send a file; `onSent` hears how many bytes of it are there, which fetch does not tell.
  send(url, file, signal, onSent) {
    const send = () =>
      new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        request.open("PUT", url);
        request.setRequestHeader("Authorization", `Bearer ${this.permitFor(url)}`);
        request.upload.onprogress = (event) => onSent(event.loaded);
        request.onload = () => resolve(new Response(request.status === 204 ? null : request.responseText, { status: request.status }));
        request.onerror = () => reject(new TypeError("the server could not be reached"));
        request.onabort = () => reject(new DOMException("stopped", "AbortError"));
        signal.addEventListener("abort", () => request.abort(), { once: true });
        request.send(file);
      });
    signal.throwIfAborted();
    return this.answered(send);
  }

  async answered(send) {
    let response = await send();
    if (response.status === 403) {
      await this.fresh();
      response = await send();
    }
    if (response.status === 403) throw new Refused(await sentence(response));
    if (!response.ok) {
      const error = new Error(await sentence(response));
      error.isConflict = response.status === 409;
      error.isAnswer = response.status < 500;
      throw error;
    }
    return response;
  }

  async json(url, options) {
    return (await this.request(url, options)).json();
  }

  post(url, content) {
    return this.request(url, { method: "POST", body: JSON.stringify(content ?? {}), headers: { "Content-Type": "application/json" } });
  }
}
