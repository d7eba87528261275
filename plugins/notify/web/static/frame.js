// What must stand before anything is painted or clicked: the theme of the Airflow page around us, and the way out to it.
"use strict";
(() => {
  const root = document.documentElement;
  const around = () => {
    try {
      return window.parent !== window ? window.parent.document.documentElement : null;
    } catch {
      return null; // framed by another site: the policy forbids it, and this would only be a look
    }
  };
  // Its theme; by ourselves that of its last visit, else the system's.
  const chosen = () => {
    const frame = around();
    if (frame) return frame.classList.contains("dark");
    const kept = localStorage.getItem("theme");
    return kept === "dark" || (kept !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  };
  const apply = () => {
    root.dataset.theme = chosen() ? "dark" : "light";
  };
  apply();
  const frame = around();
  if (frame) new MutationObserver(apply).observe(frame, { attributes: true, attributeFilter: ["class"] });
  addEventListener("storage", apply);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", apply);
  // Airflow frames this page without the right to lead its window away; so the window is asked to go itself.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow]");
    if (!link || window.parent === window) return;
    event.preventDefault();
    const outside = window.parent.document.createElement("a");
    outside.href = link.href;
    outside.click();
  });
})();
