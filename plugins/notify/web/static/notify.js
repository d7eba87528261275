// Moments in the reader's own zone, ticks that count, forms without empty fields, and what moves, fetched anew. All of
// it is a comfort.
"use strict";
(() => {
  const written = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
  const today = new Date().toDateString();
  const told = (time, at) => {
    if ("hour" in time.dataset) return clock.format(at);
    if ("brief" in time.dataset) return (at.toDateString() === today ? clock : minute).format(at);
    return written.format(at);
  };
  const localize = (part) => {
    for (const time of part.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) continue;
      time.title = time.textContent; // in UTC
      time.textContent = told(time, at);
    }
  };
  localize(document);
  for (const form of document.querySelectorAll("form[data-selection]")) {
    const boxes = [...form.querySelectorAll("input[type=checkbox][name]")];
    const all = form.querySelector("[data-all]");
    if (!all) continue;
    const count = () => {
      const size = boxes.filter((box) => box.checked).length;
      form.querySelector("output").value = `${size} selected`;
      for (const button of form.querySelectorAll("button")) button.disabled = !size;
      all.checked = size === boxes.length;
      all.indeterminate = size > 0 && size < boxes.length;
    };
    all.parentElement.hidden = false;
    all.addEventListener("change", () => {
      for (const box of boxes) box.checked = all.checked;
    });
    form.addEventListener("change", count);
    addEventListener("pageshow", count); // also where the browser goes back to ticked boxes
  }
  for (const form of document.querySelectorAll("form[method=get]")) {
    form.addEventListener("submit", () => {
      for (const field of form.elements) if (field.name && !field.value) field.disabled = true;
    });
  }
  // What the server calls moving is looked at again after so many seconds, until it moves no more. What somebody uses
  // at the moment, and what is still the same, stays as it is: it must not be taken away, nor be read out again.
  const shown = new Map();
  const renew = (fresh) => {
    for (const region of document.querySelectorAll("[data-moving]")) {
      const other = fresh.getElementById(region.id);
      const used = region.contains(document.activeElement) || region.querySelector("details[open]");
      if (!other || used || shown.get(region.id) === other.outerHTML) continue;
      shown.set(region.id, other.outerHTML);
      localize(other);
      region.replaceWith(other);
    }
  };
  const later = () => {
    const moving = document.querySelector("[data-moving]");
    if (moving) setTimeout(look, Number(moving.dataset.moving) * 1000);
  };
  const look = async () => {
    try {
      const answer = document.hidden ? null : await fetch(location.href, { redirect: "error" });
      if (answer?.ok) renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The server is away for a moment; the next look will do.
    }
    later();
  };
  later();
})();
