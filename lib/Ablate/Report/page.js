// Makes the page more comfortable; all of it can be read without.
'use strict';
{
  // Titles appear at once, on focus too. Each plot or map is one stop of the tab key; arrows move inside.
  const tip = document.createElement('div');
  tip.id = 'tip';
  tip.hidden = true;
  tip.setAttribute('role', 'tooltip');
  document.body.append(tip);

  const show = point => {
    tip.textContent = point.dataset.tip;
    tip.hidden = false;
    const at = point.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - size.width / 2), innerWidth - size.width - 8);
    const above = at.top - size.height - 8;
    tip.style.left = left + 'px';
    tip.style.top = (above > 8 ? above : at.bottom + 8) + 'px';
  };
  const hide = () => { tip.hidden = true; };

  for (const group of document.querySelectorAll('[data-points]')) {
    const points = [...group.querySelectorAll('.pt')];
    const columns = Number(group.dataset.columns) || 0;
    points.forEach((point, index) => {
      const title = point.querySelector(':scope > title');
      point.dataset.tip = title ? title.textContent : point.getAttribute('title');
      title ? title.remove() : point.removeAttribute('title');
      point.setAttribute(title ? 'aria-label' : 'aria-description', point.dataset.tip);
      point.setAttribute('tabindex', index ? '-1' : '0');
    });
    const pointOf = event => event.target.closest('.pt');
    group.addEventListener('pointerover', event => pointOf(event) ? show(pointOf(event)) : hide());
    group.addEventListener('pointerleave', hide);
    group.addEventListener('focusin', event => {
      const point = pointOf(event);
      if (!point) return;
      for (const other of points) other.setAttribute('tabindex', other === point ? '0' : '-1');
      show(point);
    });
    group.addEventListener('focusout', hide);
    group.addEventListener('keydown', event => {
      const point = pointOf(event);
      if (event.key === 'Escape') hide();
      if (!point) return;
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns || 1, ArrowUp: -(columns || 1) };
      let next = points.indexOf(point) + (steps[event.key] || 0);
      if (event.key === 'Home') next = 0;
      if (event.key === 'End') next = points.length - 1;
      if (!steps[event.key] && event.key !== 'Home' && event.key !== 'End') return;
      event.preventDefault();
      points[Math.min(Math.max(next, 0), points.length - 1)].focus();
    });
  }
  addEventListener('scroll', hide, { passive: true });

  for (const command of document.querySelectorAll('.command')) {
    if (!navigator.clipboard) break;
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = 'Copy';
    button.addEventListener('click', async () => {
      await navigator.clipboard.writeText(command.querySelector('code').textContent);
      button.textContent = 'Copied';
      setTimeout(() => { button.textContent = 'Copy'; }, 1500);
    });
    command.append(button);
  }

  // On paper short lists are shown whole; the long tables are left to the screen.
  addEventListener('beforeprint', () => {
    for (const details of document.querySelectorAll('details:not(:has(table))')) details.open = true;
  });
}
