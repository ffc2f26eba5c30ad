// Before the first paint: the theme that was chosen, else what the system prefers.
(() => {
  try {
    const chosen = localStorage.getItem("quadrant-theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // storage may be forbidden: the system's preference holds
  }
})();
