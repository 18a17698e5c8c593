"use strict";
// Copies the text of a block.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const block = button.parentElement.querySelector("pre");
    try {
      await navigator.clipboard.writeText(block.textContent);
    } catch {
      // Where a page opened from disk has no clipboard, the selection has.
      const range = document.createRange();
      range.selectNodeContents(block);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
      getSelection().removeAllRanges();
    }
    const text = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = text; }, 1500);
  });
}
// Hides the curves whose box is not ticked, in the figure or section of the legend.
for (const box of document.querySelectorAll("input[data-colour]")) {
  box.addEventListener("change", () => {
    const colour = box.dataset.colour;
    const part = box.closest("figure, section");
    const drawn = part.querySelectorAll(`.picture [stroke="${colour}"], .picture [fill="${colour}"]`);
    for (const element of drawn) element.style.display = box.checked ? "" : "none";
  });
}
