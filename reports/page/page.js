(function () {
  'use strict';
  var all = function (selector, root) { return Array.prototype.slice.call((root || document).querySelectorAll(selector)); };
  all('[hidden]').forEach(function (e) { e.hidden = false; });

  // Copy buttons.
  var status = document.querySelector('.copied'), fading;
  function say(text) {
    status.textContent = text;
    clearTimeout(fading);
    fading = setTimeout(function () { status.textContent = ''; }, 2000);
  }
  function select(node) {
    var range = document.createRange(), selection = getSelection();
    range.selectNodeContents(node);
    selection.removeAllRanges();
    selection.addRange(range);
  }
  all('.copy').forEach(function (button) {
    var code = button.parentNode.querySelector('code');
    button.addEventListener('click', function () {
      var fallback = function () { // an older browser, or a page that may not use the clipboard
        select(code);
        say(document.execCommand && document.execCommand('copy') ? 'Copied' : 'Selected: copy it with the keyboard');
      };
      if (navigator.clipboard && navigator.clipboard.writeText) {
        navigator.clipboard.writeText(code.textContent).then(function () { say('Copied'); }, fallback);
      } else {
        fallback();
      }
    });
  });

  // Folding, and unfolding for paper.
  var fold = document.getElementById('fold'), details = all('details');
  function unfold(open) { details.forEach(function (d) { d.open = open; }); }
  if (fold) { fold.addEventListener('click', function () {
    var open = fold.getAttribute('aria-pressed') !== 'true';
    unfold(open);
    fold.setAttribute('aria-pressed', String(open));
  }); }
  var before = [];
  addEventListener('beforeprint', function () {
    before = details.filter(function (d) { return !d.open; });
    all('.log details').forEach(function (d) { d.open = true; });
  });
  addEventListener('afterprint', function () { before.forEach(function (d) { d.open = false; }); });

  // Light and dark.
  var theme = document.getElementById('theme'), root = document.documentElement;
  function dark() {
    return root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  }
  function label() { theme.textContent = dark() ? 'Light' : 'Dark'; }
  theme.addEventListener('click', function () { root.dataset.theme = dark() ? 'light' : 'dark'; label(); });
  label();

  // Plots: zoom, and what stands under the pointer.
  var steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200,
    86400, 172800, 604800, 2419200, 31449600];
  var space = 'http://www.w3.org/2000/svg';
  function make(name, attributes, parent) {
    var e = document.createElementNS(space, name);
    Object.keys(attributes).forEach(function (k) { e.setAttribute(k, attributes[k]); });
    parent.appendChild(e);
    return e;
  }
  all('svg.plot').forEach(function (svg) {
    var number = function (name) { return parseFloat(svg.getAttribute('data-' + name)); };
    var start = number('start'), length = number('length'), left = number('left'), right = number('right'), bottom = number('bottom');
    var figure = svg.closest('figure'), reading = figure.querySelector('.reading'), ticks = svg.querySelector('.ticks');
    var marks = all('.mark', svg).map(function (g) {
      return { from: parseFloat(g.getAttribute('data-from')), to: parseFloat(g.getAttribute('data-to')), rect: g.querySelector('rect'),
        line: g.querySelector('line'), circle: g.querySelector('circle'), text: g.querySelector('title').textContent };
    });
    var a = 0, b = length; // what is shown, in seconds after the start
    var cross = make('line', { 'class': 'cross', y1: 0, y2: bottom, x1: -9, x2: -9 }, svg);
    var chosen = make('rect', { 'class': 'chosen', y: 0, height: bottom, x: 0, width: 0 }, svg);
    function x(t) { return left + (right - left) * (t - a) / (b - a); }
    function time(px) { return a + (b - a) * (px - left) / (right - left); }
    function clock(t, step) {
      var iso = new Date((start + t) * 1000).toISOString();
      return step >= 86400 ? iso.slice(5, 10) : step >= 60 ? iso.slice(11, 16) : step >= 1 ? iso.slice(11, 19) : iso.slice(11, 23);
    }
    function draw() {
      marks.forEach(function (m) {
        var from = x(m.from), to = x(m.to);
        if (m.rect) { m.rect.setAttribute('x', from.toFixed(1)); m.rect.setAttribute('width', Math.max(to - from, 1.5).toFixed(1)); }
        if (m.line) { m.line.setAttribute('x1', from.toFixed(1)); m.line.setAttribute('x2', to.toFixed(1)); }
        if (m.circle) { m.circle.setAttribute('cx', from.toFixed(1)); }
      });
      var step = steps.find(function (s) { return (b - a) / s <= 8; }) || steps[steps.length - 1];
      ticks.textContent = '';
      for (var n = Math.ceil((start + a) / step); n * step < start + b; n++) {
        var t = n * step - start, g = make('g', { transform: 'translate(' + x(t).toFixed(1) + ' 0)' }, ticks);
        make('line', { y1: 4, y2: bottom }, g);
        make('text', { y: bottom + 18 }, g).textContent = clock(t, step);
      }
    }
    function show(from, to) {
      var width = Math.min(Math.max(to - from, Math.min(0.02, length)), length);
      a = Math.min(Math.max(from, 0), length - width);
      b = a + width;
      draw();
    }
    var moves = {
      'in': function () { show(a + (b - a) / 4, b - (b - a) / 4); },
      out: function () { show(a - (b - a) / 2, b + (b - a) / 2); },
      left: function () { show(a - (b - a) / 4, b - (b - a) / 4); },
      right: function () { show(a + (b - a) / 4, b + (b - a) / 4); },
      all: function () { show(0, length); }
    };
    all('[data-zoom]', figure).forEach(function (button) { button.addEventListener('click', moves[button.getAttribute('data-zoom')]); });
    function at(event) {
      var box = svg.getBoundingClientRect();
      return (event.clientX - box.left) * 960 / box.width;
    }
    var from = null;
    svg.addEventListener('pointermove', function (event) {
      var px = Math.min(Math.max(at(event), left), right), t = time(px);
      cross.setAttribute('x1', px);
      cross.setAttribute('x2', px);
      var reach = (b - a) / 160;
      var near = marks.filter(function (m) { return m.from - reach <= t && t <= m.to + (m.rect ? 0 : reach); });
      var own = event.target.closest && event.target.closest('.mark');
      var text = own ? own.querySelector('title').textContent : near.slice(0, 2).map(function (m) { return m.text; }).join(' · ');
      reading.textContent = clock(t, 0.1) + ' UTC' + (text ? '   ' + text : '');
      if (from !== null) {
        chosen.setAttribute('x', Math.min(from, px));
        chosen.setAttribute('width', Math.abs(px - from));
      }
    });
    svg.addEventListener('pointerdown', function (event) {
      if (event.button === 0 && at(event) >= left) { from = Math.min(at(event), right); event.preventDefault(); }
    });
    addEventListener('pointerup', function (event) {
      if (from === null) { return; }
      var to = Math.min(Math.max(at(event), left), right), first = from;
      from = null;
      chosen.setAttribute('width', 0);
      if (Math.abs(to - first) > 6) { show(time(Math.min(first, to)), time(Math.max(first, to))); }
    });
    svg.addEventListener('pointerleave', function () { cross.setAttribute('x1', -9); cross.setAttribute('x2', -9); reading.textContent = ''; });
    svg.addEventListener('dblclick', moves.all);
    addEventListener('beforeprint', moves.all);
  });
})();
