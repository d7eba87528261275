// Moments in the reader's own zone, ticks that count, and forms without empty fields. All of it is a comfort.
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
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.valueOf())) continue;
    time.title = time.textContent; // in UTC
    time.textContent = told(time, at);
  }
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
})();
