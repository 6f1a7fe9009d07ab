// What the browser remembers: choices of this page for good, the key until the tab is closed.

function guarded(kind) {
  return {
    get(name) {
      try {
        return window[kind].getItem(`limner-${name}`);
      } catch {
        return null; // storage may be forbidden; the page works without
      }
    },
    set(name, value) {
      try {
        if (value === null) window[kind].removeItem(`limner-${name}`);
        else window[kind].setItem(`limner-${name}`, value);
      } catch {
        // as above
      }
    },
  };
}

export const choices = guarded("localStorage");
export const session = guarded("sessionStorage");
