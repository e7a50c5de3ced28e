# Words for a terminal, a browser and a parser of logs, in both streams.
printf '\033]0;owned\007\033[2J\033]52;c;ZWNobw==\007\033P+q544e\033\\\033[6n\033[?1049h<script>alert(1)</script>\r\n'
printf '\nevent: job\ndata: {"outcome":"succeeded"}\n\nid: 999999\n\n{"level":"ERROR","job.id":1}\n' >&2
printf '\342\200\256gnp.exe\n'
