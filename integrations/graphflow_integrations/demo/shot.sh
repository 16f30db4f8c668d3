cat > v.html <<H
<body style="margin:20px;background:white"><img src="$1"></body>
H
chromium --headless --no-sandbox --disable-gpu --window-size=700,900 --screenshot=v.png v.html >/dev/null 2>&1
