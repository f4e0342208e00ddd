# One image for Airflow, MLflow and Hadoop: a task on a Hadoop node needs the very Python that sent it.
FROM --platform=linux/amd64 apache/hadoop:3.4.2 AS hadoop

FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl default-jre-headless gcc jq libc6-dev \
    && rm -rf /var/lib/apt/lists/*

COPY --from=hadoop /opt/hadoop /opt/hadoop
COPY docker/hadoop /opt/hadoop/etc/hadoop

WORKDIR /srv/millrace
COPY requirements-uv.txt requirements.lock ./
RUN pip install --no-cache-dir --require-hashes --requirement requirements-uv.txt \
    && uv pip install --system --no-cache --require-hashes --requirement requirements.lock
COPY pyproject.toml README.md ./
COPY src ./src
COPY mrjobs ./mrjobs
COPY plugins ./plugins
COPY profiles ./profiles
RUN uv pip install --system --no-cache --no-deps --no-build-isolation --editable .

# The owner of `pipelines`, so that `millrace init` can write there
ARG UID=1000
RUN useradd --non-unique --uid "$UID" --create-home millrace \
    && install --directory --owner millrace /var/lib/millrace /var/lib/hadoop

# Java 17 forbids what Hadoop does with class loaders, unless it is allowed
ENV JAVA_HOME=/usr/lib/jvm/default-java \
    HADOOP_HOME=/opt/hadoop \
    HADOOP_CONF_DIR=/opt/hadoop/etc/hadoop \
    HADOOP_LOG_DIR=/var/lib/hadoop/logs \
    HADOOP_OPTS=--add-opens=java.base/java.lang=ALL-UNNAMED \
    PATH=/opt/hadoop/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MILLRACE_HOME=/var/lib/millrace \
    MILLRACE_PIPELINES=/srv/millrace/pipelines \
    MILLRACE_PROFILES=/srv/millrace/profiles \
    AIRFLOW_HOME=/var/lib/millrace/airflow \
    GX_ANALYTICS_ENABLED=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    DO_NOT_TRACK=true

USER millrace
CMD ["millrace", "--help"]
