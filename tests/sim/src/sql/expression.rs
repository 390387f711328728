//! Parses expressions. Precedence, lowest first: OR, AND, NOT, comparison, sum, product.

use super::parse::Parser;
use super::syntax::{Expr, Op};
use super::token::Token;

type Parsed = Result<Expr, String>;

fn binary(op: Op, left: Expr, right: Expr) -> Expr {
    Expr::Binary(op, Box::new(left), Box::new(right))
}

impl Parser {
    pub(super) fn expr(&mut self) -> Parsed {
        self.nested(Self::disjunction)
    }

    fn disjunction(&mut self) -> Parsed {
        let mut left = self.conjunction()?;
        while self.eat_keyword("or") {
            self.count_operator()?;
            left = binary(Op::Or, left, self.conjunction()?);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Parsed {
        let mut left = self.negation()?;
        while self.eat_keyword("and") {
            self.count_operator()?;
            left = binary(Op::And, left, self.negation()?);
        }
        Ok(left)
    }

    fn negation(&mut self) -> Parsed {
        if self.eat_keyword("not") { Ok(Expr::Not(Box::new(self.nested(Self::negation)?))) } else { self.comparison() }
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.sum()?;
        for (symbol, op) in [
            ("=", Op::Equal),
            ("<>", Op::NotEqual),
            ("!=", Op::NotEqual),
            ("<=", Op::LessOrEqual),
            (">=", Op::GreaterOrEqual),
            ("<", Op::Less),
            (">", Op::Greater),
        ] {
            if self.eat(symbol) {
                return Ok(binary(op, left, self.sum()?));
            }
        }
        if self.eat_keyword("is") {
            let not = self.eat_keyword("not");
            self.expect_keyword("null")?;
            let test = Expr::IsNull(Box::new(left));
            return Ok(if not { Expr::Not(Box::new(test)) } else { test });
        }
        let not = self.eat_keyword("not");
        let test = if self.eat_keyword("in") {
            self.expect("(")?;
            if self.is_keyword("select") {
                let select = self.select()?;
                self.expect(")")?;
                Expr::InSelect(Box::new(left), Box::new(select))
            } else {
                Expr::In(Box::new(left), self.list()?)
            }
        } else if self.eat_keyword("between") {
            let low = self.sum()?;
            self.expect_keyword("and")?;
            let high = self.sum()?;
            let low = binary(Op::GreaterOrEqual, left.clone(), low);
            binary(Op::And, low, binary(Op::LessOrEqual, left, high))
        } else if self.eat_keyword("like") {
            Expr::Like(Box::new(left), Box::new(self.sum()?))
        } else if not {
            return self.syntax_error();
        } else {
            left
        };
        Ok(if not { Expr::Not(Box::new(test)) } else { test })
    }

    /// Parses a list of expressions and the closing parenthesis.
    fn list(&mut self) -> Result<Vec<Expr>, String> {
        let mut all = Vec::new();
        if self.eat(")") {
            return Ok(all);
        }
        loop {
            all.push(self.expr()?);
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        Ok(all)
    }

    fn sum(&mut self) -> Parsed {
        let mut left = self.product()?;
        loop {
            let op = if self.eat("+") {
                Op::Add
            } else if self.eat("-") {
                Op::Subtract
            } else {
                return Ok(left);
            };
            self.count_operator()?;
            left = binary(op, left, self.product()?);
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.primary()?;
        loop {
            let op = if self.eat("*") {
                Op::Multiply
            } else if self.eat("/") {
                Op::Divide
            } else {
                return Ok(left);
            };
            self.count_operator()?;
            left = binary(op, left, self.primary()?);
        }
    }

    fn primary(&mut self) -> Parsed {
        if self.eat("-") {
            return Ok(Expr::Negative(Box::new(self.nested(Self::primary)?)));
        }
        if self.eat("(") {
            let inside = self.expr()?;
            self.expect(")")?;
            return Ok(inside);
        }
        match self.next_token() {
            Token::Int(number) => Ok(Expr::Int(number)),
            Token::Bytes(bytes) => Ok(Expr::Bytes(bytes)),
            Token::Text(text) => Ok(Expr::Text(text)),
            Token::Var(name) => Ok(match name.strip_prefix('@') {
                Some(global) => Expr::Global(global.to_owned()),
                None => Expr::Var(name),
            }),
            Token::Name(name) => self.column(name),
            Token::Word(word) => self.word_expression(word),
            other => Err(other.source_text()),
        }
    }

    fn column(&mut self, first: String) -> Parsed {
        if self.eat(".") {
            let name = self.name()?;
            return Ok(Expr::Column { source: Some(self.collation.name(&first)), name: self.collation.name(&name) });
        }
        Ok(Expr::Column { source: None, name: self.collation.name(&first) })
    }

    fn word_expression(&mut self, word: String) -> Parsed {
        let name = word.to_lowercase();
        match name.as_str() {
            "null" => return Ok(Expr::Null),
            "system_user" => return Ok(Expr::Call("suser_sname".to_owned(), Vec::new())),
            "case" => return self.case(),
            "exists" => {
                self.expect("(")?;
                let select = self.select()?;
                self.expect(")")?;
                return Ok(Expr::Exists(Box::new(select)));
            }
            _ => {}
        }
        if !self.eat("(") {
            return self.column(word);
        }
        match name.as_str() {
            "cast" => {
                let value = self.expr()?;
                self.expect_keyword("as")?;
                let ty = self.sql_type()?;
                self.expect(")")?;
                Ok(Expr::Cast(Box::new(value), ty))
            }
            "convert" => {
                let ty = self.sql_type()?;
                self.expect(",")?;
                let value = self.expr()?;
                // Styles apply to dates and binary values, which do not convert to text here.
                if self.eat(",") {
                    let Token::Int(_) = self.next_token() else { return self.syntax_error() };
                }
                self.expect(")")?;
                Ok(Expr::Cast(Box::new(value), ty))
            }
            "count" if self.eat("*") => {
                self.expect(")")?;
                Ok(Expr::CountAll)
            }
            _ => Ok(Expr::Call(name, self.list()?)),
        }
    }

    fn case(&mut self) -> Parsed {
        let subject = if self.is_keyword("when") { None } else { Some(self.expr()?) };
        let mut arms = Vec::new();
        while self.eat_keyword("when") {
            let test = self.expr()?;
            let test = match &subject {
                Some(subject) => binary(Op::Equal, subject.clone(), test),
                None => test,
            };
            self.expect_keyword("then")?;
            arms.push((test, self.expr()?));
        }
        let otherwise = if self.eat_keyword("else") { Some(Box::new(self.expr()?)) } else { None };
        self.expect_keyword("end")?;
        Ok(Expr::Case(arms, otherwise))
    }
}
