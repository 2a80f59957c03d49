# Makes the reference values of graded evidence: `Rscript strengths.R` in this folder writes strengths.json.
# Debian: r-base-core, r-cran-ordinal, r-cran-survival, r-cran-vgam, r-cran-jsonlite.
library(ordinal)
library(survival)
suppressMessages(library(VGAM))

d <- read.csv("strengths.csv")
d$delta <- d$logprob_a - d$logprob_b
d$length <- log(d$words_a / d$words_b)

# G/(G-1) and nothing else; `influence` holds each row's on the parameters.
clustered <- function(influence, prompt) {
  psi <- rowsum(influence, prompt)
  g <- nrow(psi)
  sqrt(colSums(psi^2) * g / (g - 1))
}
# Derivatives of a function of b that gives a number for each row, by central differences.
derivatives <- function(f, b, h = 1e-5) sapply(seq_along(b), function(j) {
  up <- b; up[j] <- up[j] + h; down <- b; down[j] <- down[j] - h
  (f(up) - f(down)) / (2 * h)
})

# clm has no scores for thresholds that are tied together: they are derivatives of its likelihood of the rows.
ordered <- function(data, terms) {
  data$level <- factor(data$strength)
  m <- clm(reformulate(terms, "level"), data = data, threshold = "symmetric2",
    control = clm.control(gradTol = 1e-12, maxIter = 200))
  x <- as.matrix(data[terms])
  q <- length(m$alpha)
  row <- function(b) {
    theta <- c(-Inf, as.vector(m$tJac %*% b[seq_len(q)]), Inf)
    y <- as.integer(data$level)
    eta <- as.vector(x %*% b[-seq_len(q)])
    log(plogis(theta[y + 1] - eta) - plogis(theta[y] - eta))
  }
  stopifnot(all.equal(sum(row(coef(m))), as.numeric(logLik(m)), tolerance = 1e-10))
  influence <- derivatives(row, coef(m)) %*% vcov(m)
  errors <- clustered(influence, data$prompt)
  # P(a preferred) + P(tie) / 2, and its mean slope along the first term.
  tau <- function(b) if (any(data$strength == 0)) b[1] else 0
  effect <- function(b) {
    eta <- as.vector(x %*% b[-seq_len(q)])
    (dlogis(eta - tau(b)) + dlogis(eta + tau(b))) / 2 * b[q + 1]
  }
  gradient <- colMeans(derivatives(effect, coef(m)))
  own <- (effect(coef(m)) - mean(effect(coef(m)))) / nrow(data)
  list(
    estimate = unname(m$beta), std_error = unname(errors[-seq_len(q)]),
    thresholds = unname(m$alpha), thresholds_std_error = unname(errors[seq_len(q)]),
    log_likelihood = as.numeric(logLik(m)),
    marginal_effect = mean(effect(coef(m))),
    marginal_effect_std_error = clustered(as.matrix(influence %*% gradient + own), data$prompt)
  )
}

# Davidson's model is a choice among three: a (half the logit), b (minus half of it), and a tie (log nu).
ties <- function(terms) {
  n <- nrow(d)
  chosen <- sign(d$strength)
  long <- data.frame(
    comparison = rep(seq_len(n), 3), prompt = rep(d$prompt, 3), side = rep(c(1, -1, 0), each = n),
    y = as.numeric(c(chosen == 1, chosen == -1, chosen == 0))
  )
  long$tie <- as.numeric(long$side == 0)
  for (term in terms) long[[term]] <- rep(d[[term]], 3) * long$side / 2
  m <- clogit(reformulate(c(terms, "tie", "strata(comparison)", "cluster(prompt)"), "y"), data = long, method = "breslow",
    control = coxph.control(eps = 1e-12, toler.chol = 1e-13, iter.max = 100))
  g <- length(unique(d$prompt))
  errors <- sqrt(diag(vcov(m)) * g / (g - 1))
  x <- as.matrix(d[terms])
  k <- length(terms)
  shares <- function(b) {
    half <- as.vector(x %*% b[seq_len(k)]) / 2
    p <- cbind(exp(half), exp(b[k + 1]), exp(-half))
    p / rowSums(p)
  }
  influence <- derivatives(function(b) log(shares(b))[cbind(seq_len(n), 2 - chosen)], coef(m)) %*% m$naive.var
  stopifnot(all.equal(unname(clustered(influence, d$prompt)), unname(errors), tolerance = 1e-6))
  # The slope of P(a preferred) + P(tie) / 2 along the first term: a quarter of the variance of the sign.
  effect <- function(b) {
    p <- shares(b)
    (p[, 1] + p[, 3] - (p[, 1] - p[, 3])^2) / 4 * b[1]
  }
  gradient <- colMeans(derivatives(effect, coef(m)))
  own <- (effect(coef(m)) - mean(effect(coef(m)))) / n
  list(
    term = names(coef(m)), estimate = unname(coef(m)), std_error = unname(errors), log_likelihood = m$loglik[2],
    marginal_effect = mean(effect(coef(m))),
    marginal_effect_std_error = clustered(as.matrix(influence %*% gradient + own), d$prompt)
  )
}

# The same by VGAM: log P(a)/P(b) and log P(tie)/P(b) are tied together by constraints.
vgam_ties <- function(terms) {
  y <- factor(sign(d$strength), levels = c(1, 0, -1))
  held <- c(list("(Intercept)" = rbind(0, 1)), sapply(terms, function(t) rbind(1, 0.5), simplify = FALSE))
  m <- vglm(reformulate(terms, "y"), multinomial, data = cbind(d, y = y), constraints = held,
    control = vglm.control(epsilon = 1e-13, maxit = 100))
  list(estimate = unname(c(coef(m)[-1], coef(m)[1])), log_likelihood = logLik(m))
}

both <- c("delta", "length")
decided <- d[d$strength != 0, ]
three <- transform(d, strength = sign(strength))
made <- list(
  ordered = ordered(d, "delta"), ordered_both = ordered(d, both), ordered_without_ties = ordered(decided, both),
  rao_kupper = ordered(three, both),
  ties = ties("delta"), ties_both = ties(both), ties_vgam = vgam_ties("delta"), ties_vgam_both = vgam_ties(both)
)
packages <- c("ordinal", "survival", "VGAM")
made$versions <- c(list(R = R.version.string), sapply(packages, function(p) as.character(packageVersion(p)), simplify = FALSE))
writeLines(jsonlite::toJSON(made, digits = NA, auto_unbox = TRUE, pretty = TRUE), "strengths.json")
