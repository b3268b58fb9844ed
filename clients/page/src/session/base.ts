// Where the daemon is: at the page's own address, perhaps below the path prefix of a proxy.
const page = new URL(".", location.href);

/** The path of the prefix; empty without one. */
export const BASE_PATH = page.pathname.replace(/\/+$/, "");
/** `http://HOST:PORT` or the same with a path, without a slash at the end. */
export const BASE = `${page.origin}${BASE_PATH}`;
