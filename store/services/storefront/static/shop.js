// Everything works without this file. With it: the basket's number is fresh, forms that only
// need a nudge send themselves, a double click sends once, times are the reader's own, and an
// order's page follows the order.

const localTimes = (root) => {
  for (const time of root.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
    time.title = at.toLocaleString();
    time.removeAttribute("data-local");
  }
};

const basketCount = async () => {
  const bubble = document.querySelector("[data-cart-count]");
  if (!bubble) return;
  try {
    const answer = await fetch("/cart/count", { headers: { accept: "application/json" } });
    if (!answer.ok) return;
    const { count, words } = await answer.json();
    bubble.textContent = count;
    bubble.hidden = count === 0;
    document.querySelector("[data-cart-words]").textContent = words;
  } catch {
    // The number from the page will do.
  }
};

const forms = () => {
  for (const field of document.querySelectorAll("[data-auto]")) {
    const form = field.form;
    const button = form.querySelector("button[type=submit]:not([name])");
    if (button) button.hidden = field.tagName === "INPUT";
    field.addEventListener("change", () => form.reportValidity() && form.requestSubmit());
  }
  for (const form of document.querySelectorAll("form[data-once]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "yes";
      form.querySelector("button[type=submit]").setAttribute("aria-disabled", "true");
    });
  }
  // Coming back with the browser's button must not find a form that has been sent.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-sent]")) {
      delete form.dataset.sent;
      form.querySelector("button[type=submit]").removeAttribute("aria-disabled");
    }
    basketCount();
  });
};

const followOrder = () => {
  const box = document.querySelector("[data-live]");
  if (!box) return;
  const note = document.querySelector("[data-live-note]");
  const says = document.querySelector("[data-live-says]");
  const source = new EventSource(box.dataset.live);
  const steps = () => box.querySelectorAll(".timeline li:not(.ahead)").length;
  source.addEventListener("order", (event) => {
    const before = steps();
    const focused = box.contains(document.activeElement) ? document.activeElement.textContent : null;
    // Rendered and escaped by the same server as this page.
    box.innerHTML = event.data;
    localTimes(box);
    box.querySelectorAll(".timeline li:not(.ahead)").forEach((li, i) => i >= before && li.classList.add("arrived"));
    const piece = box.firstElementChild;
    if (focused !== null) {
      [...box.querySelectorAll("a, button")].find((e) => e.textContent === focused)?.focus({ preventScroll: true });
    }
    if (says.textContent !== piece.dataset.says) says.textContent = piece.dataset.says;
    note.hidden = true;
    if (piece.hasAttribute("data-over")) source.close();
  });
  source.addEventListener("waiting", (event) => {
    note.textContent = event.data;
    note.hidden = false;
  });
  source.addEventListener("ended", () => source.close());
  source.addEventListener("error", () => {
    // The browser asks again by itself, unless it was refused; then a fresh page knows more.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
  });
};

// On a narrow screen the list matters more than what narrows it.
if (matchMedia("(max-width: 60rem)").matches) {
  document.querySelectorAll(".filters details").forEach((details) => details.removeAttribute("open"));
}
localTimes(document);
basketCount();
forms();
followOrder();
