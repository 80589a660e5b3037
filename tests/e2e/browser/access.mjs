// What somebody who sees little, or has no mouse, could not use on the page that is open: the
// parts of WCAG 2.2 AA that a program can measure. A list of complaints, empty when there are none.

export function complaints(page) {
  return page.evaluate(() => {
    const found = new Set();
    const seen = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && e.getClientRects().length > 0;
    const named = (e) => `${e.tagName.toLowerCase()}${[...e.classList].map((c) => `.${c}`).join("")}`;

    // A canvas knows every way to write a colour.
    const pen = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
    const known = new Map();
    const rgba = (text) => {
      if (!known.has(text)) {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = text;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        known.set(text, [r, g, b, a / 255]);
      }
      return known.get(text);
    };
    const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
    const light = (c) => {
      const [r, g, b] = c.slice(0, 3).map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ratio = (a, b) => {
      const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
      return (x + 0.05) / (y + 0.05);
    };
    /** What lies behind an element: its ancestors, the outermost first; in a drawing, the box it is drawn upon. */
    const behind = (e) => {
      const chain = [];
      for (let at = e; at; at = at.parentElement) {
        if (at instanceof SVGElement) {
          const box = at !== e && [...at.children].find((c) => c.tagName === "rect" && !c.contains(e));
          if (box) chain.push(getComputedStyle(box).fill);
        } else chain.push(getComputedStyle(at).backgroundColor);
      }
      return chain.reverse().reduce((under, colour) => over(rgba(colour), under), rgba("Canvas"));
    };

    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const e = texts.currentNode.parentElement;
      const text = texts.currentNode.nodeValue.trim();
      if (text === "" || !seen(e) || e.closest(":disabled, [aria-disabled=true], [aria-hidden=true], .faded")) continue;
      const style = getComputedStyle(e);
      const colour = rgba(e instanceof SVGElement ? style.fill : style.color).slice();
      for (let at = e; at; at = at.parentElement) colour[3] *= Number(getComputedStyle(at).opacity);
      const under = behind(e);
      const size = parseFloat(style.fontSize);
      const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
      const seenRatio = ratio(over(colour, under), under);
      if (seenRatio < (large ? 3 : 4.5)) found.add(`contrast ${seenRatio.toFixed(2)} of ${named(e)} in ${named(e.parentElement)}: «${text.slice(0, 40)}»`);
    }

    const REACHED = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
    for (const e of document.querySelectorAll("body *")) {
      if (!seen(e)) continue;
      const style = getComputedStyle(e);
      if (style.cursor === "pointer" && !e.closest(`${REACHED}, label, :disabled`)) found.add(`only a mouse reaches ${named(e)}: «${e.textContent.trim().slice(0, 40)}»`);
      const scrolls = /auto|scroll/.test(style.overflowX) && e.scrollWidth > e.clientWidth + 1;
      if (scrolls && !e.matches(REACHED) && !e.querySelector("a[href], button, input, select, textarea")) found.add(`no key scrolls ${named(e)}`);
    }
    for (const e of document.querySelectorAll("button, a[href], input, select, textarea, summary, [role=img], svg[role], aside, nav")) {
      const name = e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.labels?.length || e.textContent.trim() || e.title;
      if (!name && seen(e)) found.add(`${named(e)} has no name`);
    }
    for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) found.add(`${named(e)} jumps the order of keys`);
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.add(`two elements are called #${id}`);
    for (const e of document.querySelectorAll("[role=list], [role=listbox]")) {
      const wanted = e.role === "list" ? "listitem" : "option";
      for (const c of e.children) if (e.role === "list" && c.ariaHidden !== "true" && c.role !== wanted && !c.querySelector(`[role=${wanted}]`)) found.add(`${named(c)} in ${named(e)} is no ${wanted}`);
    }
    if (!document.documentElement.lang) found.add("the page does not say its language");
    return [...found];
  });
}

/** By the tab key alone: what has no visible sign that it is the one, and whether it ends. */
export async function unseenFocus(page, steps = 40) {
  const unseen = new Set();
  for (let i = 0; i < steps; i++) {
    await page.keyboard.press("Tab");
    const told = await page.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const marked = [e, ...e.querySelectorAll("rect, path")].some((of) => {
        const s = getComputedStyle(of);
        return (s.outlineStyle !== "none" && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== "none" || (of !== e && s.strokeWidth !== "1px");
      });
      return marked ? "" : `${e.tagName.toLowerCase()}.${e.className?.baseVal ?? e.className}`;
    });
    if (told) unseen.add(`no sign of focus on ${told}`);
  }
  return [...unseen];
}
